# SPDX-License-Identifier: Apache-2.0
"""Optimizers that torch does not have, and the learning rate on the device.

    optimizer = KerasSGD(decay_groups(model, ...), lr=device_rate(0.001, model), momentum=0.9)
    set_learning_rate(optimizer, 0.0005)

No step returns a value to the host, so that a CUDA graph can hold it; the rate is a tensor that is written before the
step. torch._foreach functions update all tensors with a few kernels. Under fp16 a step undoes the scale of
torch.amp.GradScaler, and changes nothing if a gradient is not finite.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from harness.optim.parameter_groups import Group

TRUST = 0.001
"""Coefficient of LARS in You et al. (2017)."""
LAMB_SECOND_DECAY = 0.999
"""Decay of LAMB's second moment in You et al. (2020)."""
ROW_LENGTH = 1024
"""Elements of a row of _Rows: few beside those of a layer, so that the last rows waste little."""

Tensors = tuple[Tensor, ...] | list[Tensor]


def device_rate(rate: float, model: nn.Module) -> Tensor:
    """A learning rate as a tensor on the model's device."""
    return torch.tensor(rate, device=next(model.parameters()).device)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """Set the rate of every parameter group, in place if it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def hpc_ai500_optimizer(name: str, groups: list[Group], *, lr: Tensor, momentum: float) -> Optimizer:
    """The optimizer `name` of those that section 6.1.2 of HPC AI500 V2.0 allows: "sgd", "lars" or "lamb".

    `momentum` is LAMB's decay of the first moment.
    """
    if name == "lars":
        return LARS(groups, lr=lr, momentum=momentum, trust=TRUST)
    if name == "lamb":
        return LAMB(groups, lr=lr, betas=(momentum, LAMB_SECOND_DECAY))
    return torch_sgd(groups, lr=lr, momentum=momentum)


def torch_sgd(params: Iterable[Any], *, lr: Tensor, momentum: float) -> SGD:
    """torch's SGD, fused, with momentum buffers that begin as zeros.

    Its own buffers begin as the first gradient, which is the same number. But a fused first step that is skipped under
    fp16 leaves them unwritten, and the next step adds whatever was in that memory (PyTorch 2.13).
    """
    optimizer = SGD(params, lr=lr, momentum=momentum, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


class _DeviceOptimizer(Optimizer):
    """The loop over parameter groups, and the skipping of steps under fp16; a subclass updates a group."""

    _step_supports_amp_scaling = True  # GradScaler then sets grad_scale and found_inf, and does not wait for found_inf

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # no benchmark needs a closure
        """Update every parameter that has a gradient."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not gradients:
            return
        skip = self._unscale(gradients)
        self._prepare(gradients)
        for number, group in enumerate(self.param_groups):
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._update(number, weights, [p.grad for p in weights], skip)

    def _unscale(self, gradients: list[Tensor]) -> Tensor | None:
        """Undo the loss scale. Returns a tensor that is true if the step must be skipped; the gradients are 0 then."""
        scale, infinite = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        if scale is not None:
            torch._foreach_mul_(gradients, scale.reciprocal())
        if infinite is None:
            return None
        skip = infinite > 0
        for gradient in gradients:
            gradient.masked_fill_(skip, 0)
        return skip

    def _prepare(self, gradients: list[Tensor]) -> None:
        """Called with the gradients of all groups before they are updated."""

    def _update(self, number: int, weights: list[Tensor], gradients: list[Any], skip: Tensor | None) -> None:
        """Update the weights of group `number`; a step that is skipped leaves weights and state as they are."""
        raise NotImplementedError

    def _states(self, weights: list[Tensor], name: str) -> list[Tensor]:
        """The tensors `name` of the weights' states; they begin as zeros."""
        for weight in weights:
            if name not in self.state[weight]:
                self.state[weight][name] = torch.zeros_like(weight)
        return [self.state[weight][name] for weight in weights]

    def _rows(self, number: int, weights: list[Tensor]) -> "_Rows":
        """The buffer for the updates of group `number`; another one if other weights have gradients than before."""
        buffers = self.__dict__.setdefault("_buffers", {})
        if number not in buffers or not buffers[number].fits(weights):
            buffers[number] = _Rows(weights)
        return buffers[number]


class _Rows:
    """One buffer with a view for each tensor, of its shape and memory order. A tensor begins on a row of its own.

    Each tensor can so be multiplied by a factor of its own in one operation; torch._foreach_mul_ with a list of
    factors launches a kernel for each.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        num_rows = [-(-tensor.numel() // ROW_LENGTH) for tensor in tensors]
        self._buffer = tensors[0].new_zeros(sum(num_rows), ROW_LENGTH)
        parts = self._buffer.split(num_rows)
        self.views = [part.as_strided(t.size(), t.stride()) for part, t in zip(parts, tensors, strict=True)]
        counts = torch.tensor(num_rows, device=self._buffer.device)
        self._tensor_of_row = torch.repeat_interleave(counts)
        self._ids = [id(tensor) for tensor in tensors]

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """True if the views are those of these tensors."""
        return self._ids == [id(tensor) for tensor in tensors]

    def multiply(self, factors: Tensor) -> None:
        """Multiply view i by factors[i], in place."""
        self._buffer.mul_(factors[self._tensor_of_row][:, None])


def _unless(skip: Tensor | None, value: Any, otherwise: float) -> Any:
    """`value`, or `otherwise` in a step that is skipped."""
    return value if skip is None else torch.where(skip, otherwise, value)


class KerasSGD(_DeviceOptimizer):
    """SGD with the momentum of Keras, which the CosmoFlow reference uses: the rate is inside the velocity.

    With d = gradient + weight_decay * weights: velocity = momentum * velocity + lr * d, then weights -= velocity. A
    change of the rate acts on new gradients only. torch.optim.SGD applies the rate to the whole velocity, and equals
    this at a constant rate only.
    """

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor, *, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def _update(self, number: int, weights: list[Tensor], gradients: list[Any], skip: Tensor | None) -> None:
        group = self.param_groups[number]
        updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        torch._foreach_mul_(updates, _unless(skip, group["lr"], 0.0))
        self._move(group, weights, updates, skip)

    def _move(self, group: Group, weights: list[Tensor], updates: Tensors, skip: Tensor | None) -> None:
        velocities = self._states(weights, "velocity")
        torch._foreach_mul_(velocities, _unless(skip, group["momentum"], 1.0))
        torch._foreach_add_(velocities, updates)
        moves: Tensors = velocities
        if skip is not None:
            moves = torch._foreach_mul(velocities, _unless(skip, 1.0, 0.0))
        torch._foreach_sub_(weights, moves)


class LARS(KerasSGD):
    """Layerwise adaptive rate scaling: KerasSGD with a rate for each layer, a tensor of two or more dimensions.

    lr becomes lr * trust * |weights| / (|gradient| + weight_decay * |weights| + eps), or lr if a norm is 0. Vectors
    (biases, gamma and beta of norms) keep lr, as is usual with LARS.

    Source: You et al., "Large batch training of convolutional networks" (2017).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = TRUST,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(params, lr, momentum=momentum, weight_decay=weight_decay)
        for group in self.param_groups:
            group.update(trust=trust, eps=eps)

    def _update(self, number: int, weights: list[Tensor], gradients: list[Any], skip: Tensor | None) -> None:
        group, rows = self.param_groups[number], self._rows(number, weights)
        rates = _unless(skip, group["lr"], 0.0) * self._ratios(group, weights, gradients)
        torch._foreach_copy_(rows.views, gradients)
        torch._foreach_add_(rows.views, weights, alpha=group["weight_decay"])
        rows.multiply(rates)
        self._move(group, weights, rows.views, skip)

    def _ratios(self, group: Group, weights: list[Tensor], gradients: list[Any]) -> Tensor:
        weight_norms, gradient_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, gradients))
        sums = gradient_norms + group["weight_decay"] * weight_norms + group["eps"]
        scaled = (weight_norms > 0) & (gradient_norms > 0) & self._is_layer(group, weights)
        return torch.where(scaled, group["trust"] * weight_norms / sums, 1.0)

    def _is_layer(self, group: Group, weights: list[Tensor]) -> Tensor:
        """Which of the weights have two or more dimensions, on their device; made once for the same weights."""
        known = self.__dict__.setdefault("_layers", {})
        key = tuple(weight.dim() > 1 for weight in weights)
        if key not in known:
            known[key] = torch.tensor(key, device=weights[0].device)
        return known[key]


class LAMB(_DeviceOptimizer):
    """Layerwise adaptive moments, as MLPerf HPC's DeepCAM uses them; every tensor is a layer.

    The gradients of all parameters are scaled down together, in place, to a norm of at most max_grad_norm. Then each
    tensor moves by lr * |weights| / |update| * update, where update = m / (sqrt(v) + eps) + weight_decay * weights with
    Adam's moments m and v, bias-corrected. Without weight decay the ratio of norms is 1, as in Apex' FusedLAMB.
    grad_averaging: m takes 1 - beta1 of each gradient, otherwise all of it.

    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        bias_correction: bool = True,
        grad_averaging: bool = True,
        max_grad_norm: float = 1.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        switches = {"bias_correction": bias_correction, "grad_averaging": grad_averaging}
        super().__init__(params, {**defaults, **switches, "max_grad_norm": max_grad_norm})
        for group in self.param_groups:
            group["step"] = torch.zeros((), device=group["params"][0].device)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore a state; the count of steps goes to the device of the parameters, as their moments do."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["step"] = group["step"].to(group["params"][0].device)

    def _prepare(self, gradients: list[Tensor]) -> None:
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        torch._foreach_mul_(gradients, (self.param_groups[0]["max_grad_norm"] / norm).clamp(max=1.0))

    def _update(self, number: int, weights: list[Tensor], gradients: list[Any], skip: Tensor | None) -> None:
        group, rows = self.param_groups[number], self._rows(number, weights)
        group["step"] += _unless(skip, 1, 0)
        self._adam_updates(group, weights, gradients, rows.views, skip)
        factors = group["lr"] * torch.ones(len(weights), device=weights[0].device, dtype=weights[0].dtype)
        if group["weight_decay"] != 0:
            torch._foreach_add_(rows.views, weights, alpha=group["weight_decay"])
            factors = factors * _ratio(weights, rows.views)
        rows.multiply(_unless(skip, factors, 0.0))
        torch._foreach_sub_(weights, rows.views)

    def _adam_updates(
        self, group: Group, weights: list[Tensor], gradients: list[Any], updates: list[Tensor], skip: Tensor | None
    ) -> None:
        """Take the gradients into both moments, and write m / (sqrt(v) + eps) to `updates`."""
        beta1, beta2 = group["betas"]
        means, squares = self._states(weights, "exp_avg"), self._states(weights, "exp_avg_sq")
        torch._foreach_mul_(means, _unless(skip, beta1, 1.0))
        torch._foreach_add_(means, gradients, alpha=1 - beta1 if group["grad_averaging"] else 1)
        torch._foreach_mul_(squares, _unless(skip, beta2, 1.0))
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        if group["bias_correction"]:
            torch._foreach_div_(roots, _one_minus_power(beta2, group["step"]).sqrt())
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_copy_(updates, means)
        torch._foreach_div_(updates, roots)
        if group["bias_correction"]:
            torch._foreach_div_(updates, _one_minus_power(beta1, group["step"]))


def _ratio(weights: list[Tensor], updates: list[Tensor]) -> Tensor:
    """|weights| / |update| of each layer; 1 if a norm is 0."""
    weight_norms, update_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, updates))
    return torch.where((weight_norms > 0) & (update_norms > 0), weight_norms / update_norms, 1.0)


def _one_minus_power(base: float, step: Tensor) -> Tensor:
    """1 - base ** step, at least of the first step, without cancellation: 1 - 0.999 has four digits in fp32."""
    if base == 0:
        return torch.ones_like(step)
    return -torch.expm1(step.clamp(min=1) * math.log(base))
