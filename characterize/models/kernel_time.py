# SPDX-License-Identifier: Apache-2.0
"""A fitted model from a kernel's input parameters to its performance, with its error on shapes that it never saw.

    quality = held_out_error(result.data["kernels"])
    quality.typical_error                                # 0.35: half of the held-out times within a factor of 1.35

As the Summit/Spock benchmarking paper explored: what a device does between the measured shapes. Extremely randomised
trees on logarithms of sizes, operations and bytes; shapes are held out whole, in all directions and precisions at once,
since their forward direction would give away their backward. Needs scikit-learn, the extra [characterize].
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np

from characterize.results.result import CharacterizeError

FAMILIES = ("gemm", "conv2d", "conv3d", "lstm", "gru", "rnn", "attention")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
SIZE_NAMES = ("M", "N", "K", "C", "T", "H", "stride", "groups")
FEWEST_SHAPES = 10
NUM_FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How well the model tells the time of shapes that it was not fitted on."""

    num_shapes: int
    typical_error: float
    """Median over the held-out rows of max(predicted / measured, measured / predicted) - 1."""
    ninth_decile_error: float
    """Nine of ten rows are no worse."""
    naive_error: float
    """Typical error of the median rate of the same family, direction and precision: what a fit must beat."""

    def as_record(self) -> dict[str, float]:
        return asdict(self)


def features(row: dict[str, Any]) -> list[float]:
    """Logarithms of what a kernel is; sizes that its family lacks are 0."""
    sizes = {name: value for name, value in row["sizes"].items() if not isinstance(value, list)}
    sides = [math.log2(max(1, math.prod(row["sizes"].get(name, [1])))) for name in ("size", "kernel")]
    return [
        *(float(row["family"] == family) for family in FAMILIES),
        *(float(row["precision"] == precision) for precision in PRECISIONS),
        float(row["direction"] == "backward"),
        math.log2(row["flops"]),
        math.log2(row["bytes"]),
        math.log2(row["intensity"]),
        *sides,
        *(math.log2(max(1, sizes.get(name, 1))) for name in SIZE_NAMES),
    ]


def held_out_error(rows: Sequence[dict[str, Any]]) -> Quality:
    """Cross-validated by shape; CharacterizeError without scikit-learn or with too few shapes."""
    try:
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.model_selection import GroupKFold
    except ImportError:
        raise CharacterizeError(
            "kernel model: scikit-learn is not installed; install the extra [characterize]"
        ) from None
    shapes = [f"{row['family']} {row['shape']}" for row in rows]
    if len(set(shapes)) < FEWEST_SHAPES:
        raise CharacterizeError(
            f"kernel model: found {len(set(shapes))} shapes, expected at least {FEWEST_SHAPES}; use --full"
        )
    inputs = np.array([features(row) for row in rows])
    target = np.array([math.log(row["flops_per_s"]) for row in rows])
    errors, naive = np.zeros(len(rows)), np.zeros(len(rows))
    for fitted, held_out in GroupKFold(NUM_FOLDS).split(inputs, target, shapes):
        model = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=0, n_jobs=1).fit(
            inputs[fitted], target[fitted]
        )
        errors[held_out] = np.abs(model.predict(inputs[held_out]) - target[held_out])
        naive[held_out] = [abs(_naive(rows, fitted, rows[index]) - target[index]) for index in held_out]
    return Quality(
        num_shapes=len(set(shapes)),
        typical_error=math.exp(float(np.median(errors))) - 1,
        ninth_decile_error=math.exp(float(np.quantile(errors, 0.9))) - 1,
        naive_error=math.exp(float(np.median(naive))) - 1,
    )


def _naive(rows: Sequence[dict], fitted: np.ndarray, wanted: dict) -> float:
    """Logarithm of the median rate of kernels alike, of all kernels where there are none."""
    alike = ("family", "direction", "precision")
    same = [rows[index] for index in fitted if all(rows[index][key] == wanted[key] for key in alike)]
    return math.log(median(row["flops_per_s"] for row in (same or [rows[index] for index in fitted])))
