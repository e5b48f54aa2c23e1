#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail

# FILL IN: download, convert and split the data set
