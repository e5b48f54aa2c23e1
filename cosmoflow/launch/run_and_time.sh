#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains once on this node and writes the event log, which contains the times:
#   DATA=/scratch/cosmoflow OUTPUT=result_0.txt RANKS=8 ./run_and_time.sh
# The configuration is CONFIG, else the files beside this script, as in a submission, else the reference.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
data=${DATA:?Set DATA to the prepared data set, for example DATA=/scratch/cosmoflow.}
config=$here
[[ -e $config/hyperparameters.toml ]] || config=$here/../configs/closed
config=${CONFIG:-$config}

launcher=("$python" -m)
if ((${RANKS:-1} > 1)); then
    launcher=("$python" -m torch.distributed.run --standalone --nproc-per-node "$RANKS" -m)
fi
exec "${launcher[@]}" cosmoflow.train --config "$config" --data "$data" --output "${OUTPUT:-result_0.txt}" "$@"
