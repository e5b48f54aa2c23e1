# SPDX-License-Identifier: Apache-2.0
"""All that can be configured; the defaults are the reference at its batch of 8.

A field of Hyperparameters is at once the TOML key, the rules' key and the event log's key. The learning rate scales
linearly: at a global batch of B the peak is 0.01 * B / 8, reached after a warm-up.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ewa_fasterrcnn.model.faster_rcnn import ANCHOR_SIZES
from harness import config, validate
from harness.config import Config, ConfigError
from harness.system_settings import FromOne, SystemSettings


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Settings that decide how training converges; logged with every run, and borrowed as a group."""

    global_batch_size: int = 8
    """Images of an optimizer step over all ranks: one a rank, as in the reference, where there are as many ranks."""
    opt_name: Literal["sgd", "lars", "lamb"] = "sgd"
    """SGD with momentum, or one of the layerwise policies that section 6.1.2 allows."""
    opt_base_learning_rate: float = 0.01
    """The peak rate, reached at the end of warm-up."""
    opt_learning_rate_schedule: Literal["step", "cosine"] = "step"
    """After warm-up: drops at the boundary epochs, or half a cosine wave down to 0 at the end of the last epoch."""
    opt_learning_rate_warmup_epochs: float = 1.0
    """Epochs of a linear rise from 0 to the peak, step by step."""
    opt_learning_rate_decay_boundary_epochs: tuple[float, ...] | None = (33.0, 44.0)
    """step: epochs, counted from 0, at which the rate drops: after two and eight ninths of the way, as usual."""
    opt_learning_rate_decay_factor: float | None = 0.1
    """step: what the rate is multiplied by at each boundary."""
    opt_momentum: float = 0.9
    """Momentum; of LAMB the decay of the first moment."""
    opt_weight_decay: float = 1e-4
    """torch's weight decay, on all parameters."""
    opt_weight_decay_on_batch_norm: bool = True
    """True if scales and shifts of norms decay too; section 6.4 forbids to leave them out."""

    # The procedure and the network. Only the free level, and the demo's rules, let a file set them.
    gradient_clip_norm: float | None = 10.0
    """Norm of all gradients together above which they are scaled down; None for no bound."""
    norm: Literal["group", "batch", "frozen"] = "group"
    """Group or batch norm trained from scratch, or pretrained and frozen batch norm, with stem and first stage."""
    base_width: int = 64
    """Channels of the backbone's stem, which the other widths follow."""
    pyramid_channels: int = 256
    """Channels of every level of the feature pyramid."""
    head_features: int = 1024
    """Features of the two dense layers of the box head."""
    anchor_sizes: tuple[float, ...] = ANCHOR_SIZES
    """Sides of the square anchors of the five levels, in pixels."""
    num_proposals: int = 1000
    """Proposals of an image when evaluating; training takes twice as many."""
    num_sampled_regions: int = 512
    """Regions of an image that the box head learns from in a step."""

    def __post_init__(self) -> None:
        if self.opt_learning_rate_schedule != "step":
            for name in ("opt_learning_rate_decay_boundary_epochs", "opt_learning_rate_decay_factor"):
                object.__setattr__(self, name, None)
        validate.above(self, 0, "global_batch_size", "opt_base_learning_rate", "pyramid_channels", "head_features")
        validate.above(self, 0, "num_proposals", "num_sampled_regions", "opt_weight_decay", "gradient_clip_norm")
        validate.share(self, "opt_momentum")
        validate.at_least(self, 0, "opt_learning_rate_warmup_epochs")
        validate.rising(self, "opt_learning_rate_decay_boundary_epochs")
        self._check_network()

    def _check_network(self) -> None:
        sizes = list(self.anchor_sizes)
        if len(sizes) != len(ANCHOR_SIZES) or sizes != sorted(sizes) or not sizes[0] > 0:
            expected = f"expected {len(ANCHOR_SIZES)} rising numbers above 0, one a level"
            raise ValueError(f"anchor_sizes: found {sizes}, {expected}")
        if self.base_width < 4 or self.base_width & (self.base_width - 1):
            raise ValueError(f"base_width: found {self.base_width}, expected a power of 2 of at least 4")


@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    """Settings of the machine; they do not change the mathematics."""

    data_folder: Path = Path("data/ewa_fasterrcnn")
    """Prepared data set: train/, validation/, statistics.json and manifest.json; --data takes precedence."""
    staging_form: Literal["replica"] = "replica"
    """Content of the staging folder: the whole data set, whose files of a year each cannot be dealt out to nodes."""
    evaluation_batch_size: FromOne = 1
    """Images that a rank evaluates at once."""
    epochs_between_evaluations: FromOne = 10
    """Evaluate after every so many epochs and after the last one; images per second do not include evaluations."""
    overlap: bool = True
    """Exchange each bucket while other gradients are still computed; otherwise all buckets at the end."""
    gradient_compression: Literal["none", "bf16", "fp16"] = "none"
    """Type to which gradients are rounded for the exchange between the ranks."""
    pretrained_weights: Path | None = None
    """Weights of a ResNet-50, a state_dict written by torch.save; norm "frozen" needs them."""
    trained_weights: Path | None = None
    """File for the trained weights, written off the clock; ewa_fasterrcnn.preview draws their detections."""


def check_job(settings: Config, *, num_ranks: int, device_type: str) -> None:
    """Raise ConfigError if this many ranks, or their device (cpu or cuda), cannot train with these settings.

    The ranks share a global batch equally; frozen norms need pretrained weights, and others do not use them.
    """
    config.check_device(settings, device_type)
    config.check_shares(settings, num_ranks)
    hyperparameters, system = settings.hyperparameters, settings.system
    if (hyperparameters.norm == "frozen") != (system.pretrained_weights is not None):
        found = f"found {system.pretrained_weights} with norm {hyperparameters.norm!r}"
        raise ConfigError(
            f"{settings.system_path}: [system] pretrained_weights: {found}, expected a file with norm 'frozen' only"
        )
