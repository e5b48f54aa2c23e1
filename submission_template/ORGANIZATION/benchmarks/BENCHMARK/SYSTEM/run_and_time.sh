#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

# FILL IN: start one run that writes one result_<i>.txt
