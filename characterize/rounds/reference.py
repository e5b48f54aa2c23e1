# SPDX-License-Identifier: Apache-2.0
"""Mean epochs of the reference convergence points, from rules/reference_convergence.toml."""

from compliance.rulesets import ruleset
from compliance.scoring.reference_convergence import point_of, reference_counts


def reference_epochs(version: str, benchmark: str, train_samples: int) -> dict[float, float]:
    """Mean epochs by batch size for a version of the rules; empty for v0.7, which had no reference points.

    OpenFold's points count training samples; they become epochs of a data set with `train_samples`.
    """
    name = f"mlperf_hpc_{version}"
    counts = reference_counts(name).get(benchmark, {})
    if not counts:
        return {}
    unit = 1 if ruleset.load(name).benchmark(benchmark).convergence_unit == "epochs" else train_samples
    return {batch: point_of(batch, values).mean / unit for batch, values in counts.items()}
