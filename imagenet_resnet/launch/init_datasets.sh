#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepares the data set once, before any run:
#   RAW=/downloads/ilsvrc2012 DATA=/scratch/imagenet ./init_datasets.sh     from the official archives, to tar shards
#   DATA=output/data ./init_datasets.sh                                     the demo's synthetic pictures
# Options of the command follow the script: ./init_datasets.sh --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?Set DATA to the folder for the prepared data set, for example DATA=/scratch/imagenet.}

if [[ -n ${RAW:-} ]]; then
    "$python" -m imagenet_resnet.prepare "$RAW" "$data" "$@"
else
    "$python" -m imagenet_resnet.synthesize "$data" "$@"
fi
