#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepare the data set once, before any run:
#   RAW=/downloads/ilsvrc2012 DATA=/scratch/imagenet ./init_datasets.sh     from the official archives, to tar shards
#   DATA=output/data ./init_datasets.sh                                     the demo's synthetic pictures
# More options of either command come after: ./init_datasets.sh --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?DATA: name the folder that the prepared data set goes to}

if [[ -n ${RAW:-} ]]; then
    "$python" -m imagenet_resnet.prepare "$RAW" "$data" "$@"
else
    "$python" -m imagenet_resnet.synthesize "$data" "$@"
fi
