# SPDX-License-Identifier: Apache-2.0
"""Batch norm with statistics over several ranks, on GPUs and on CPUs.

    group = batch_norm.process_group(group_size=4)          # a collective call of all ranks
    model = batch_norm.convert(model, group)
    ...
    batch_norm.average_running_statistics(model)            # before an evaluation

MLPerf HPC leaves the span of batch norm to the submitter. PyTorch's SyncBatchNorm works on GPUs only; on CPUs,
`GroupBatchNorm` computes the same with two small collectives per layer. Both give the result of one process that holds
the joint batch of the group.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from compliance.files.errors import UserError

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class BatchNormGroupError(UserError):
    """The ranks cannot be divided into batch-norm groups of the requested size."""


def process_group(group_size: int) -> dist.ProcessGroup | None:
    """This rank's group of `group_size` consecutive ranks; None for a span of one rank.

    A collective call of all ranks. BatchNormGroupError if the size does not divide the number of ranks.
    """
    num_ranks = dist.get_world_size() if dist.is_initialized() else 1
    if group_size < 1 or num_ranks % group_size:
        divisors = ", ".join(str(size) for size in range(1, num_ranks + 1) if num_ranks % size == 0)
        raise BatchNormGroupError(
            f"batchnorm_group_size is {group_size}, but it must divide the number of ranks, {num_ranks}: {divisors}"
        )
    if group_size == 1:
        return None
    group, _ = dist.new_subgroups(group_size)
    return group


def convert(model: nn.Module, group: dist.ProcessGroup | None) -> nn.Module:
    """Let every batch norm of the model share its statistics over the group; its weights and statistics stay.

    Move the model to its training device first: the device decides which of the two forms it gets.
    """
    if group is None:
        return model
    if next(model.parameters()).is_cuda:
        return nn.SyncBatchNorm.convert_sync_batchnorm(model, group)
    return _convert_on_cpu(model, group)


def _convert_on_cpu(module: nn.Module, group: dist.ProcessGroup) -> nn.Module:
    if isinstance(module, BATCH_NORMS):
        return GroupBatchNorm(module, group)
    for name, child in module.named_children():
        setattr(module, name, _convert_on_cpu(child, group))
    return module


def average_running_statistics(model: nn.Module) -> None:
    """Replace the running mean and variance of every batch norm by their average over all ranks, in one collective.

    Ranks of one group already agree, so the average over ranks is the average over groups. The number of batches seen
    does not change.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return
    statistics = [buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    if not statistics:
        return
    joined = torch.cat([buffer.flatten() for buffer in statistics])
    dist.all_reduce(joined)
    joined /= dist.get_world_size()
    for buffer, average in zip(statistics, joined.split([buffer.numel() for buffer in statistics]), strict=True):
        buffer.copy_(average.view_as(buffer))


class GroupBatchNorm(nn.Module):
    """A batch norm over the joint batch of a process group, for devices that SyncBatchNorm does not support."""

    running_mean: Tensor | None
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, original: nn.modules.batchnorm._BatchNorm, group: dist.ProcessGroup) -> None:
        """Take over the parameters and buffers of `original`, with their names and the references to them."""
        super().__init__()
        self.group = group
        self.eps, self.momentum = original.eps, original.momentum
        self.num_features = original.num_features
        self.weight, self.bias = original.weight, original.bias
        for name in ("running_mean", "running_var", "num_batches_tracked"):
            self.register_buffer(name, getattr(original, name))
        self.train(original.training)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape and type. N may be 0 on some ranks."""
        if not self.training and self.running_mean is not None:
            return nn.functional.batch_norm(
                features, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        output, mean, variance, count = _GroupNormalize.apply(features, self.eps, self.group)
        if self.training and self.running_mean is not None:
            self._track(self.running_mean, mean, variance, count)
        if self.weight is None:
            return output
        shape = _channel_shape(features)
        return (output * self.weight.view(shape) + self.bias.view(shape)).to(features.dtype)

    @torch.no_grad()
    def _track(self, running_mean: Tensor, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Update the running statistics with the unbiased variance, as PyTorch's own batch norms do."""
        self.num_batches_tracked += 1
        momentum = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = variance * (count / (count - 1).clamp(min=1))
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class _GroupNormalize(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) over the joint batch, with the gradient through mean and variance."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, eps: float, group: dist.ProcessGroup) -> tuple[Tensor, ...]:
        mean, variance, count = _joint_moments(features, group)
        shape = _channel_shape(features)
        scale = torch.rsqrt(variance + eps)
        normalized = (features.to(mean.dtype) - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normalized.to(features.dtype), scale, count)
        ctx.group = group
        ctx.mark_non_differentiable(mean, variance, count)
        return normalized.to(features.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor, None, None]:
        normalized, scale, count = ctx.saved_tensors
        gradient, normalized = gradient.to(scale.dtype), normalized.to(scale.dtype)
        axes, shape = _reduced_axes(gradient), _channel_shape(gradient)
        sums = torch.stack([gradient.sum(axes), (gradient * normalized).sum(axes)])
        dist.all_reduce(sums, group=ctx.group)
        mean_gradient, mean_product = (sums / count).unbind()
        centered = gradient - mean_gradient.view(shape) - normalized * mean_product.view(shape)
        return (centered * scale.view(shape)).to(ctx.saved_tensors[0].dtype), None, None


def _joint_moments(features: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and number of values per channel, over the group.

    The ranks exchange means and squared deviations, which Chan's formula joins (Chan et al. 1983). With sums of
    squares, the variance of values far from zero would be lost to cancellation.
    """
    values = features.detach().to(torch.promote_types(features.dtype, torch.float32))
    axes = _reduced_axes(values)
    count = values.new_full((values.shape[1],), values.numel() // max(1, values.shape[1]))
    mean = values.sum(axes) / count.clamp(min=1)
    deviations = (values - mean.view(_channel_shape(values))).square().sum(axes)
    own = torch.stack([count, mean, deviations])
    gathered = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(gathered, own, group=group)
    counts, means, all_deviations = torch.stack(gathered, dim=1).unbind()
    total = counts.sum(0)
    joint_mean = (counts * means).sum(0) / total
    joint_deviations = (all_deviations + counts * (means - joint_mean).square()).sum(0)
    return joint_mean, joint_deviations / total, total[0]


def _reduced_axes(values: Tensor) -> list[int]:
    return [axis for axis in range(values.dim()) if axis != 1]


def _channel_shape(values: Tensor) -> list[int]:
    return [1, -1] + [1] * (values.dim() - 2)
