#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

# FILL IN: install the software: environment, packages with their versions
