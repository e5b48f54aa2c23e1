# SPDX-License-Identifier: Apache-2.0
"""The loss: cross-entropy with a weight a class, averaged over pixels.

A pixel of class c weighs f(c)^-1/8, where f(c) is the class's share of all pixels of the real data set: a cyclone's
pixel is two thousand times as rare as the background's and weighs 2.6 times as much. The weighted losses are divided by
the number of pixels, not by the sum of the weights as PyTorch's "mean" does (MLPerf HPC reference).

Shapes: N samples, K classes, H x W pixels.
"""

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

CLASS_NAMES = ("background", "tropical cyclone", "atmospheric river")
CLASS_SHARES = (0.986267818390377, 0.0004578708870701058, 0.01327431072255291)
"""Share of each class among the pixels of the real data set."""
CLASS_WEIGHTS = tuple(share**-0.125 for share in CLASS_SHARES)
"""1.0017, 2.6146, 1.7164."""


def weighted_cross_entropy(
    logits_NKHW: Tensor, labels_NHW: Tensor, class_weights: tuple[float, ...] = CLASS_WEIGHTS
) -> Tensor:
    """The mean over all pixels of weight(label) x -log softmax(logits)[label], in single precision.

    Labels are integers of any width; they are widened here, on the device, so that a byte a pixel travels.
    """
    logits_NKHW = logits_NKHW.float()
    weights_K = _on_device(class_weights, logits_NKHW.device)
    total = functional.cross_entropy(logits_NKHW, labels_NHW.long(), weight=weights_K, reduction="sum")
    return total / labels_NHW.numel()


@cache
def _on_device(class_weights: tuple[float, ...], device: torch.device) -> Tensor:
    """The weights as a tensor, copied to the device once."""
    return torch.tensor(class_weights, device=device)
