# SPDX-License-Identifier: Apache-2.0
"""The benchmarks to measure: for each its network, a random batch of the right shape, and its loss.

    for benchmark in installed(): model = benchmark.make_model(benchmark.small_size)

Benchmarks whose packages are not installed are skipped. A benchmark's modules are imported when its model is made.
Batches are random values of the right range, because times and counts depend on shapes only.

Shapes: N samples, C channels, D H W voxels or pixels, T targets, K classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from characterize.results.benchmark_titles import TITLES
from characterize.results.result import CharacterizeError

Size = tuple[int, ...]
Batch = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One benchmark's training step."""

    name: str
    """Name of the package."""
    title: str
    reference_size: Size
    """Spatial sides of a reference input, without channels."""
    small_size: Size
    """Spatial sides of an input that a laptop trains on in about a second; the network is the same."""
    samples_per_rank: int
    """Local batch size of the reference; it determines operations per byte of gradients."""
    small_samples: int = 1
    """Default local batch size of timed steps on a CPU."""
    make_model: Callable[[Size], nn.Module]
    make_batch: Callable[[int, Size], Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    """Forward pass and loss."""
    forward: Callable[[nn.Module, Batch], Tensor]
    """Forward pass whose work depends only on shapes, so that it can be counted on the meta device."""
    input_bytes: int
    """Stored bytes of one reference sample."""

    def describe(self, size: Size) -> str:
        """Format a size, such as `128 x 128 x 128`."""
        return " x ".join(map(str, size))


def installed() -> dict[str, Benchmark]:
    """Benchmarks whose packages are installed, by name."""
    return {benchmark.name: benchmark for benchmark in _ALL if _is_installed(benchmark.name)}


def named(names: Sequence[str] | None) -> list[Benchmark]:
    """Benchmarks with these names; default: all installed. CharacterizeError suggests the nearest name."""
    known = installed()
    if not names:
        return list(known.values())
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise CharacterizeError(f"benchmark: found {name!r}, expected one of {', '.join(known)}{hint}")
    return [known[name] for name in names]


def _is_installed(package: str) -> bool:
    try:
        return find_spec(f"{package}.model") is not None
    except ModuleNotFoundError:
        return False


def _cosmoflow_model(size: Size) -> nn.Module:
    from cosmoflow.model import CosmoFlow

    return CosmoFlow(input_size=size[0], pool_first=True)  # as all its configurations


def _cosmoflow_batch(num_samples: int, size: Size) -> Batch:
    return torch.rand(num_samples, 4, *size), torch.rand(num_samples, 4) * 2 - 1


def _cosmoflow_loss(model: nn.Module, batch: Batch) -> Tensor:
    volume_NCDHW, target_NT = batch
    return functional.mse_loss(model(volume_NCDHW).float(), target_NT)


def _deepcam_model(size: Size) -> nn.Module:
    from deepcam.model import DeepCAM

    return DeepCAM()


def _deepcam_batch(num_samples: int, size: Size) -> Batch:
    return torch.rand(num_samples, 16, *size), torch.randint(0, 3, (num_samples, *size))


def _deepcam_loss(model: nn.Module, batch: Batch) -> Tensor:
    from deepcam.loss import weighted_cross_entropy

    fields_NCHW, labels_NHW = batch
    return weighted_cross_entropy(model(fields_NCHW), labels_NHW)


def _imagenet_model(size: Size) -> nn.Module:
    from imagenet_resnet.model import ResNet50

    return ResNet50()


def _imagenet_batch(num_samples: int, size: Size) -> Batch:
    return torch.rand(num_samples, 3, *size), torch.randint(0, 1000, (num_samples,))


def _imagenet_loss(model: nn.Module, batch: Batch) -> Tensor:
    image_NCHW, class_N = batch
    return functional.cross_entropy(model(image_NCHW).float(), class_N, label_smoothing=0.1)


def _first_input(model: nn.Module, batch: Batch) -> Tensor:
    return model(batch[0])


def _ewa_model(size: Size) -> nn.Module:
    from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN

    return FasterRCNN()


def _ewa_batch(num_samples: int, size: Size) -> Batch:
    from ewa_fasterrcnn.model.box_head import Truth

    height, width = size
    box = torch.tensor([0.2 * height, 0.2 * width, 0.5 * height, 0.4 * width, 1])
    return torch.rand(num_samples, 16, *size), Truth.of_rows(box.expand(num_samples, 1, 5)), torch.arange(num_samples)


def _ewa_loss(model: nn.Module, batch: Batch) -> Tensor:
    return model(*batch).float().mean(dim=0).sum()


def _ewa_forward(model: nn.Module, batch: Batch) -> Tensor:
    """Evaluate all anchors and a fixed number of regions; which regions they are does not change the work."""
    from ewa_fasterrcnn.model.roi_ops import CROP_SIZE

    fields_NCHW = batch[0]
    pyramid = model.pyramid(model.backbone(fields_NCHW))
    outputs = model.proposals(pyramid, fields_NCHW.shape[-2:])
    num_regions = len(fields_NCHW) * model.head.num_sampled
    crops_RC77 = pyramid[0].new_empty(num_regions, pyramid[0].shape[1], CROP_SIZE, CROP_SIZE).requires_grad_()
    parts = (outputs.objectness_NA, outputs.deltas_NA4, *model.head.judge(crops_RC77))
    return torch.cat([part.flatten() for part in parts])


_ALL = (
    Benchmark(
        name="cosmoflow",
        title=TITLES["cosmoflow"],
        reference_size=(128, 128, 128),
        small_size=(64, 64, 64),
        samples_per_rank=4,
        small_samples=2,  # on a CPU PyTorch has a convolution three times slower for one sample
        make_model=_cosmoflow_model,
        make_batch=_cosmoflow_batch,
        loss=_cosmoflow_loss,
        forward=_first_input,
        input_bytes=16_777_216,
    ),
    Benchmark(
        name="deepcam",
        title=TITLES["deepcam"],
        reference_size=(768, 1152),
        small_size=(96, 144),
        samples_per_rank=2,
        make_model=_deepcam_model,
        make_batch=_deepcam_batch,
        loss=_deepcam_loss,
        forward=_first_input,
        input_bytes=60_162_048,
    ),
    Benchmark(
        name="imagenet_resnet",
        title=TITLES["imagenet_resnet"],
        reference_size=(224, 224),
        small_size=(224, 224),
        samples_per_rank=128,
        small_samples=8,
        make_model=_imagenet_model,
        make_batch=_imagenet_batch,
        loss=_imagenet_loss,
        forward=_first_input,
        input_bytes=110_000,
    ),
    Benchmark(
        name="ewa_fasterrcnn",
        title=TITLES["ewa_fasterrcnn"],
        reference_size=(768, 1152),
        small_size=(96, 144),
        samples_per_rank=1,
        make_model=_ewa_model,
        make_batch=_ewa_batch,
        loss=_ewa_loss,
        forward=_ewa_forward,
        input_bytes=56_623_104,
    ),
)
