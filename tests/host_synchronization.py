# SPDX-License-Identifier: Apache-2.0
"""Refuse, on a CPU, operations that would make the host wait for a GPU or copy from the host to it.

    train_step()                            # warm-up: constants and the optimizer's state are created
    with no_host_synchronization():
        train_step()                        # raises HostSynchronization at the first such operation

A CUDA graph cannot capture a step with any of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
OPERATORS = {
    aten._local_scalar_dense: "reads a value: item(), int(), float(), bool(), if tensor",
    aten.nonzero: "its shape depends on values; the same for where(condition) and indices by a mask",
    aten.nonzero_numpy: "its shape depends on values",
    aten.masked_select: "its shape depends on values",
    aten.equal: "returns a Python bool",
    aten.is_nonzero: "returns a Python bool",
    aten._unique2: "its shape depends on values",
    aten.unique_dim: "its shape depends on values",
    aten.unique_consecutive: "its shape depends on values",
    aten.bincount: "its shape depends on values",
    aten.lift_fresh: "copies Python values to the device: torch.tensor(...), new_tensor(...), tensor[[1, 2]]",
}
"""Operators that wait for the device or copy to it."""
INDEXING = (aten.index, aten.index_put, aten.index_put_, aten._unsafe_index)
"""Operators that wait only if an index is a mask."""
FUNCTIONS = {
    Tensor.tolist: "reads all values",
    Tensor.numpy: "reads all values",
    Tensor.__array__: "reads all values",
    Tensor.cpu: "copies to the host",
}
"""Methods that need no operator on a CPU."""


class HostSynchronization(AssertionError):
    """An operation that waits for the device or copies to it."""


@contextmanager
def no_host_synchronization() -> Iterator[None]:
    """Raise HostSynchronization at the first operation of this kind."""
    with _Operators(), _Functions():
        yield


class _Operators(TorchDispatchMode):
    def __torch_dispatch__(self, operator: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        reason = OPERATORS.get(operator.overloadpacket)
        if operator.overloadpacket in INDEXING and any(map(_is_mask, args[1])):
            reason = "indexes by a mask: the number of chosen elements depends on values"
        if operator.overloadpacket is aten.repeat_interleave and (kwargs or {}).get("output_size") is None:
            reason = "its shape depends on values without output_size"
        if reason:
            raise HostSynchronization(f"{operator}: {reason}")
        return operator(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __torch_function__(self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if function in FUNCTIONS:
            raise HostSynchronization(f"{function.__name__}: {FUNCTIONS[function]}")
        return function(*args, **(kwargs or {}))


def _is_mask(index: Tensor | None) -> bool:
    return index is not None and index.dtype in (torch.bool, torch.uint8)
