#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Prepare the data set once, before any run:
#   RAW=/downloads/universes DATA=/scratch/cosmoflow ./init_datasets.sh     from the original HDF5 universes
#   DATA=output/data ./init_datasets.sh                                     the demo's synthetic universes
# More options of either command come after: ./init_datasets.sh --workers 64
set -euo pipefail

python=${PYTHON:-python3}
data=${DATA:?DATA: name the folder that the prepared data set goes to}

if [[ -n ${RAW:-} ]]; then
    "$python" -m cosmoflow.prepare "$RAW" "$data" --format "${FORMAT:-numpy}" "$@"
else
    "$python" -m cosmoflow.synthesize "$data" "$@"
fi
