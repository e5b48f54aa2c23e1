# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedules as pure functions, the parameter groups of weight decay, LAMB and LARS; the rest is torch's.

A schedule maps a time to a learning rate. Time is the epoch counted from 0, or the step; all times of a call share its
unit.

    rate = step_decay(epoch, peak=0.012, boundaries=[32, 64], factors=[0.25, 0.125])
    set_learning_rate(optimizer, linear_warmup(epoch, rate, peak=0.012, warmup=4, warmup_factor=12))
"""

import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def linear_warmup(time: float, rate: float, *, peak: float, warmup: float, warmup_factor: float) -> float:
    """A linear rise from peak / warmup_factor at time 0 to peak at time `warmup`; from then on `rate`.

    The factor is MLPerf's opt_learning_rate_warmup_factor as the CosmoFlow reference and the public logs of v1.0 and
    later use it: how many times smaller the first rate is than the peak, opt_base_learning_rate. (Some v0.7 logs give
    its inverse.)
    """
    if time >= warmup:
        return rate
    start = peak / warmup_factor
    return start + (peak - start) * time / warmup


def step_decay(
    time: float, *, peak: float, boundaries: Sequence[float], factors: float | Sequence[float] = 1.0
) -> float:
    """The peak times the factor of the last boundary passed: it is passed once `boundary < time`, not at the boundary.

    factors: a list gives each boundary's fraction of the peak; a number multiplies once more at each boundary.
    """
    num_passed = sum(boundary < time for boundary in boundaries)
    if num_passed == 0:
        return peak
    if isinstance(factors, Sequence):
        return peak * factors[num_passed - 1]
    return peak * factors**num_passed


def polynomial_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0, power: float) -> float:
    """From peak at time `start` to end at time `stop` along a power of the time left; constant before and after."""
    left = 1 - _progress(time, start, stop)
    return end + (peak - end) * left**power


def linear_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0) -> float:
    """A straight line from peak at time `start` to end at time `stop`; constant before and after."""
    return polynomial_decay(time, peak=peak, start=start, stop=stop, end=end, power=1)


def cosine_decay(time: float, *, peak: float, start: float, stop: float, end: float = 0.0) -> float:
    """Half a cosine wave from peak at time `start` to end at time `stop`; constant before and after.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts" (2017), one period.
    """
    return end + (peak - end) * (1 + math.cos(math.pi * _progress(time, start, stop))) / 2


def deepcam_warmup(step: float, rate: float, *, start: float, warmup: float, warmup_factor: float) -> float:
    """DeepCAM's warm-up until step `warmup`; from then on `rate`, which should begin at start * warmup_factor.

    The factor has two meanings there: 1 stands for a linear rise from 0 to the start rate, any other number for one
    from the start rate to that multiple of it. No warm-up is warmup = 0.
    """
    if step >= warmup:
        return rate
    share = step / warmup
    return start * (share if warmup_factor == 1 else 1 + (warmup_factor - 1) * share)


def cosine_annealing(time: float, *, peak: float, half_period: float, end: float = 0.0) -> float:
    """A cosine wave from peak at time 0 to end at time `half_period`, and up again: it is not held at the end."""
    return end + (peak - end) * (1 + math.cos(math.pi * time / half_period)) / 2


def _progress(time: float, start: float, stop: float) -> float:
    if stop <= start:
        return float(time >= stop)
    return min(max((time - start) / (stop - start), 0.0), 1.0)


def set_learning_rate(optimizer: Optimizer, learning_rate: float) -> None:
    """The same rate for every parameter group; a rate that a CUDA graph reads is a tensor, and is written in place."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(learning_rate)
        else:
            group["lr"] = learning_rate


def decay_groups(model: nn.Module, decayed: Iterable[nn.Parameter], weight_decay: float) -> list[dict]:
    """Parameter groups for an optimizer: `decayed` under weight decay, every other parameter free of it.

    weight_decay is torch's: it adds weight_decay * w to the gradient. Keras' l2(x) adds x * sum(w**2) to the loss, thus
    2 * x * w to the gradient: an entry tuned with Keras' l2(x) is run here with weight_decay = 2 * x.
    """
    decayed = list(decayed)
    decayed_ids = {id(parameter) for parameter in decayed}
    free = [parameter for parameter in model.parameters() if id(parameter) not in decayed_ids]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


class LAMB(Optimizer):
    """Layerwise adaptive moments, as MLPerf HPC's DeepCAM uses them; every tensor is a layer.

    The gradients of all parameters are scaled down together, in place, to a norm of at most max_grad_norm. Then each
    tensor moves by lr * |weights| / |update| * update, where update = m / (sqrt(v) + eps) + weight_decay * weights with
    Adam's moments m and v, bias-corrected. Without weight decay the ratio of norms is left at 1, as in Apex' FusedLAMB.
    grad_averaging: m takes (1 - beta1) of each gradient rather than all of it.

    No value returns to the host, so a CUDA graph may hold a step; give lr as a tensor to change it between replays.
    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes" (2020).
    """

    def __init__(
        self,
        params: Iterable,
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

    def load_state_dict(self, state_dict: dict) -> None:
        """As every optimizer's; the count of steps goes to the parameters' device, as their moments do."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            group["step"] = group["step"].to(group["params"][0].device)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        if not gradients:
            return loss
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                torch._foreach_mul_([p.grad for p in weights], (group["max_grad_norm"] / norm).clamp(max=1.0))
                self._step_group(group, weights)
        return loss

    def _step_group(self, group: dict, weights: list[Tensor]) -> None:
        group["step"] += 1
        updates = self._adam_updates(group, weights)
        if group["weight_decay"] == 0:
            torch._foreach_mul_(updates, torch.as_tensor(group["lr"], device=weights[0].device))
        else:
            torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
            weight_norms = torch.stack(torch._foreach_norm(weights))
            update_norms = torch.stack(torch._foreach_norm(updates))
            sound = (weight_norms > 0) & (update_norms > 0)
            ratios = torch.where(sound, weight_norms / update_norms, 1.0)
            torch._foreach_mul_(updates, (group["lr"] * ratios).unbind())
        torch._foreach_sub_(weights, updates)

    def _adam_updates(self, group: dict, weights: list[Tensor]) -> list[Tensor]:
        """m / (sqrt(v) + eps), after both moments have taken the gradients in."""
        beta1, beta2 = group["betas"]
        states, gradients = [self._state(p) for p in weights], _gradients(weights)
        means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_mul_(means, beta1)
        torch._foreach_add_(means, gradients, alpha=1 - beta1 if group["grad_averaging"] else 1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        roots = torch._foreach_sqrt(squares)
        if group["bias_correction"]:
            torch._foreach_div_(roots, _one_minus_power(beta2, group["step"]).sqrt())
        torch._foreach_add_(roots, group["eps"])
        updates = torch._foreach_div(means, roots)
        if group["bias_correction"]:
            torch._foreach_div_(updates, _one_minus_power(beta1, group["step"]))
        return list(updates)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        if not self.state[parameter]:
            self.state[parameter] = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        return self.state[parameter]


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [p.grad for p in weights if p.grad is not None]


def _one_minus_power(base: float, exponent: Tensor) -> Tensor:
    """1 - base ** exponent without the cancellation: 1 - 0.999 has four digits left in single precision."""
    return -torch.expm1(exponent * math.log(base))


class LARS(Optimizer):
    """Layerwise adaptive rate scaling on SGD with momentum; every tensor of two or more dimensions is a layer.

    With d = gradient + weight_decay * weights, a layer's velocity becomes momentum * velocity + lr * ratio * d, and the
    weights lose it; ratio = trust * |weights| / (|gradient| + weight_decay * |weights| + eps), or 1 where a norm is 0.
    Vectors (biases, gamma and beta of a batch norm) keep the ratio 1, as everyone who trains with LARS does.

    No value returns to the host, so a CUDA graph may hold a step; give lr as a tensor to change it between replays.
    Source: You et al., "Large batch training of convolutional networks" (2017).
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 0.1,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = 0.001,
        eps: float = 1e-8,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "eps": eps}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                self._step_group(group, weights)
        return loss

    def _step_group(self, group: dict, weights: list[Tensor]) -> None:
        gradients = _gradients(weights)
        rates = group["lr"] * self._ratios(group, weights, gradients)
        updates = torch._foreach_add(gradients, weights, alpha=group["weight_decay"])
        torch._foreach_mul_(updates, rates.unbind())
        velocities = [self._velocity(p) for p in weights]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates)
        torch._foreach_sub_(weights, velocities)

    def _ratios(self, group: dict, weights: list[Tensor], gradients: list[Tensor]) -> Tensor:
        weight_norms, gradient_norms = (torch.stack(torch._foreach_norm(tensors)) for tensors in (weights, gradients))
        sums = gradient_norms + group["weight_decay"] * weight_norms + group["eps"]
        sound = (weight_norms > 0) & (gradient_norms > 0)
        ratios = torch.where(sound, group["trust"] * weight_norms / sums, 1.0).unbind()
        one = torch.ones_like(ratios[0])
        return torch.stack([ratio if p.dim() > 1 else one for p, ratio in zip(weights, ratios, strict=True)])

    def _velocity(self, parameter: Tensor) -> Tensor:
        if not self.state[parameter]:
            self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return self.state[parameter]["momentum_buffer"]
