# SPDX-License-Identifier: Apache-2.0
"""The quality metric: mean intersection over union, a sample at a time.

    accuracy = MeanIoU(device)
    for fields, labels in loader:
        accuracy.update(sample_iou(confusion(model(fields), labels)))
    eval_accuracy = accuracy.value(world.all_reduce_sum)

The IoU of a class in one sample is pixels(predicted and labelled) / pixels(predicted or labelled), and 1 where nobody
saw the class. A sample scores the mean over its classes, the data set the mean over its samples. Summing one confusion
matrix over the data set first gives another number, and is not the benchmark's (MLPerf HPC).

Shapes: N samples, K classes, H x W pixels.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def confusion(logits_NKHW: Tensor, labels_NHW: Tensor) -> Tensor:
    """(N, K, K) pixel counts by label (rows) and prediction (columns).

    The class of the largest logit is that of the largest softmax, which is never computed: one pass over the logits
    leaves a byte a pixel that holds label and prediction both. No step waits for the device, so a CUDA graph may
    hold it.
    """
    num_classes = logits_NKHW.shape[1]
    prediction_NHW = logits_NKHW.argmax(1).to(torch.uint8)
    code_NHW = prediction_NHW.add_(labels_NHW.to(torch.uint8) * num_classes)
    counts = [(code_NHW == code).sum((1, 2)) for code in range(num_classes**2)]
    return torch.stack(counts, dim=1).view(-1, num_classes, num_classes)


def sample_iou(confusion_NKK: Tensor) -> Tensor:
    """(N) mean IoU over the classes of each sample, in double precision; an empty union counts as 1."""
    counts = confusion_NKK.double()
    intersection_NK = counts.diagonal(dim1=1, dim2=2)
    union_NK = counts.sum(1) + counts.sum(2) - intersection_NK
    return torch.where(union_NK > 0, intersection_NK / union_NK.clamp(min=1), 1.0).mean(1)


class MeanIoU:
    """Sums the scores and counts the samples; divides once, at the end, after both went over all ranks."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.sum_and_count = torch.zeros(2, dtype=torch.float64, device=device)

    def update(self, scores_N: Tensor) -> None:
        """Take in the scores of some samples, as sample_iou gives them."""
        self.sum_and_count[0] += scores_N.sum()
        self.sum_and_count[1] += scores_N.numel()

    def value(self, all_reduce_sum: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> float:
        """The mean over all samples of all ranks; every rank calls this. nan where nobody saw a sample."""
        total, count = all_reduce_sum(self.sum_and_count.clone()).tolist()
        return total / count if count else float("nan")
