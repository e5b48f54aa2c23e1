# SPDX-License-Identifier: Apache-2.0
"""Mean epochs of the reference convergence points, from rules/reference_convergence.toml."""

import tomllib
from importlib.resources import files

from compliance.rulesets import ruleset
from compliance.scoring.reference_convergence import point_of


def reference_epochs(version: str, benchmark: str, train_samples: int) -> dict[float, float]:
    """Mean epochs by batch size for a version of the rules; empty for v0.7, which had no reference points.

    OpenFold's points count training samples; they become epochs of a data set with `train_samples`.
    """
    tables = tomllib.loads(files("rules").joinpath("reference_convergence.toml").read_text(encoding="utf-8"))
    counts = tables.get(f"mlperf_hpc_{version}", {}).get(benchmark, {})
    unit = train_samples if _counts_samples(version, benchmark) else 1
    return {float(batch): point_of(float(batch), values).mean / unit for batch, values in counts.items()}


def _counts_samples(version: str, benchmark: str) -> bool:
    name = f"mlperf_hpc_{version}"
    if name not in ruleset.names():
        return False
    known = ruleset.load(name).benchmark(benchmark)
    return known is not None and known.convergence_key != "epoch_num"
