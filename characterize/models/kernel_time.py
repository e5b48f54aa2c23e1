# SPDX-License-Identifier: Apache-2.0
"""Regression from a kernel's input parameters to its rate, with its error on shapes outside the training data.

    quality = held_out_error(result.data["kernels"])
    quality.typical_error                                # 0.35: half of the held-out times within a factor of 1.35

The Summit/Spock benchmarking paper explored such a model to predict shapes between the measured ones. Here it is
extremely randomized trees on logarithms of sizes, operations and bytes. A shape is held out in all directions and
precisions at once, because its forward time would reveal its backward time. Needs scikit-learn (extra [characterize]).
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
    """Errors of the model on held-out shapes."""

    num_shapes: int
    typical_error: float
    """Median over the held-out rows of max(predicted / measured, measured / predicted) - 1."""
    ninth_decile_error: float
    """90th percentile of the same error."""
    naive_error: float
    """Typical error of the baseline: the median rate of the same family, direction and precision."""

    def as_record(self) -> dict[str, float]:
        return asdict(self)


def features(row: dict[str, Any]) -> list[float]:
    """Feature vector of one row: logarithms of sizes, operations and bytes; 0 for sizes that do not apply."""
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
    """Cross-validate by shape. Raises CharacterizeError if scikit-learn is missing or there are too few shapes."""
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
    """Logarithm of the median rate of similar kernels; of all kernels if there are no similar ones."""
    alike = ("family", "direction", "precision")
    same = [rows[index] for index in fitted if all(rows[index][key] == wanted[key] for key in alike)]
    return math.log(median(row["flops_per_s"] for row in (same or [rows[index] for index in fitted])))
