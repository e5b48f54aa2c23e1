#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares the data set once, before any run:
#   RAW=/downloads/universes DATA=/scratch/cosmoflow ./init_datasets.sh     from the original HDF5 universes
#   DATA=output/data ./init_datasets.sh                                     the demo's synthetic universes
# Options of the command follow the script: ./init_datasets.sh --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?Set DATA to the folder for the prepared data set, for example DATA=/scratch/cosmoflow.}

if [[ -n ${RAW:-} ]]; then
    "$python" -m cosmoflow.prepare "$RAW" "$data" --format "${FORMAT:-numpy}" "$@"
else
    "$python" -m cosmoflow.synthesize "$data" "$@"
fi
