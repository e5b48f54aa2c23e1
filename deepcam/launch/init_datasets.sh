#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares the data set once, before any run:
#   RAW=/downloads/deepcam DATA=/scratch/deepcam ./init_datasets.sh                   from the original HDF5 samples
#   DATA=output/deepcam/data ./init_datasets.sh --train 96 --validation 24 \
#       --height 64 --width 96                                                        the demo's synthetic climates
# Options of the command follow the script: ./init_datasets.sh --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?Set DATA to the folder for the prepared data set, for example DATA=/scratch/deepcam.}

if [[ -n ${RAW:-} ]]; then
    "$python" -m deepcam.prepare "$RAW" "$data" --format "${FORMAT:-numpy}" "$@"
else
    "$python" -m deepcam.synthesize "$data" "$@"
fi
