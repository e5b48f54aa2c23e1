#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the software, in pinned versions, into the checkout's own .venv:
#   CHECKOUT=/path/to/hpc-ai-bench ./setup.sh          (default: the checkout of this script)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=${CHECKOUT:-$(git -C "$here" rev-parse --show-toplevel)}

make -C "$checkout" venv
"$checkout/.venv/bin/python" -m ewa_fasterrcnn.train --help >/dev/null
echo "installed; next: source $checkout/.venv/bin/activate"
