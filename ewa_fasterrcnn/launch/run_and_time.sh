#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Train once on this node and write one event log, which holds the times:
#   DATA=/scratch/ewa OUTPUT=result_0.txt RANKS=8 ./run_and_time.sh
# In a submission the configuration lies beside this script; in the checkout it is the reference, or CONFIG.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
data=${DATA:?DATA: name the folder of the prepared data set}
config=$here
[[ -e $config/hyperparameters.toml ]] || config=$here/../configs/closed
config=${CONFIG:-$config}

launcher=("$python" -m)
if ((${RANKS:-1} > 1)); then
    launcher=("$python" -m torch.distributed.run --standalone --nproc-per-node "$RANKS" -m)
fi
exec "${launcher[@]}" ewa_fasterrcnn.train --config "$config" --data "$data" --output "${OUTPUT:-result_0.txt}" "$@"
