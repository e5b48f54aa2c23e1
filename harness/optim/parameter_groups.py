# SPDX-License-Identifier: Apache-2.0
"""Parameter groups of an optimizer, with and without weight decay.

groups = decay_groups(model, all_but_norms(model), weight_decay=1e-4)
"""

from collections.abc import Iterable
from typing import Any

from torch import nn

Group = dict[str, Any]
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm)


def decay_groups(model: nn.Module, decayed: Iterable[nn.Parameter], weight_decay: float) -> list[Group]:
    """Parameter groups for an optimizer: `decayed` with weight decay, the other trained parameters without it.

    weight_decay is torch's: it adds weight_decay * w to the gradient. Keras' l2(x) adds x * sum(w**2) to the loss, thus
    2 * x * w to the gradient: an entry tuned with Keras' l2(x) has weight_decay = 2 * x here.
    """
    decayed_ids = {id(parameter) for parameter in decayed}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups: tuple[Group, ...] = (
        {"params": [p for p in trained if id(p) in decayed_ids], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in decayed_ids], "weight_decay": 0.0},
    )
    return [group for group in groups if group["params"]]


def all_but_norms(model: nn.Module) -> list[nn.Parameter]:
    """The parameters other than gamma and beta of batch and group norms."""
    of_norms = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in of_norms]
