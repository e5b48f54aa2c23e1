#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares the data set once, before any run:
#   RAW=/downloads/years DATA=/scratch/ewa ./init_datasets.sh     from the published year files, climo_1979.h5 and so on
#   DATA=output/ewa/data ./init_datasets.sh                       the demo's synthetic weather
# Options of the command follow the script: ./init_datasets.sh --copy --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?Set DATA to the folder for the prepared data set, for example DATA=/scratch/ewa.}

if [[ -n ${RAW:-} ]]; then
    "$python" -m ewa_fasterrcnn.prepare "$RAW" "$data" "$@"
else
    "$python" -m ewa_fasterrcnn.synthesize "$data" "$@"
fi
