#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains once on this machine:
#   ewa_fasterrcnn/launch/run_local.sh CONFIG DATA [OUTPUT]          one process
#   RANKS=2 ewa_fasterrcnn/launch/run_local.sh CONFIG DATA           two processes, started by torchrun
set -euo pipefail

if (($# < 2 || $# > 3)); then
    sed -n '3,5s/^# //p' "$0" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
CONFIG=$1 DATA=$2 OUTPUT=${3:-result_0.txt} exec "$here/run_and_time.sh"
