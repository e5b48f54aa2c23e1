# SPDX-License-Identifier: Apache-2.0
"""All that can be configured; the defaults are the recipe of the public HPC AI500 code at a batch of 256.

A field of Hyperparameters is at once the TOML key, the rules' key and the event log's key. The default learning-rate
policy scales linearly: at a global batch of B the peak is 0.256 * B / 256. At hardware level (section 6.1 of HPC AI500
V2.0) batch size and learning-rate policy are free and all else stays as it is here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import config, validate
from harness.config import Config
from harness.system_settings import FromOne, FromZero, SystemSettings
from imagenet_resnet.model import BLOCKS


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Settings that decide how training converges; logged with every run, and borrowed as a group."""

    global_batch_size: int = 256
    """Pictures of an optimizer step over all ranks."""
    opt_name: Literal["sgd", "lars", "lamb"] = "sgd"
    """SGD with momentum, or one of the layerwise policies that section 6.1.2 allows."""
    opt_base_learning_rate: float = 0.256
    """The peak rate, reached at the end of warm-up."""
    opt_learning_rate_schedule: Literal["cosine", "linear", "quadratic", "step"] = "cosine"
    """Decay from the end of warm-up to 0 at the end of the last epoch, or by steps at the boundary epochs."""
    opt_learning_rate_warmup_epochs: float = 8.0
    """Epochs of a linear rise from 0 to the peak."""
    opt_learning_rate_decay_boundary_epochs: tuple[float, ...] | None = None
    """Epochs, counted from 0, at which schedule "step" drops the rate."""
    opt_learning_rate_decay_factor: float | None = None
    """Factor of the rate at each boundary."""
    opt_momentum: float = 0.875
    """Momentum; of LAMB the decay of the first moment."""
    opt_weight_decay: float = 1 / 32768
    """torch's weight decay."""
    opt_weight_decay_on_batch_norm: bool = True
    """True if gamma and beta of the batch norms decay too: section 6.4 forbids to leave them out at hardware level."""
    label_smoothing: float = 0.1
    """Share of the target that is spread evenly over all classes."""
    batch_norm_decay: float = 0.9
    """How much of the running statistics a step keeps."""
    batch_norm_epsilon: float = 1e-5
    """Added to the variance."""

    # The network and its input. Below the free level only the demo's rules list these, so that files cannot set them.
    zero_init_last_gamma: bool = False
    """True: every bottleneck begins as the identity. The recipe begins with a gamma of 1."""
    resnet_blocks: tuple[int, ...] = BLOCKS
    """Bottlenecks of the four stages; with others it is no ResNet-50."""
    resnet_width: int = 64
    """Channels of the stem."""
    image_size: int = 224
    """Pixels each way that the network sees."""
    num_classes: int = 1000
    """Classes of the data set."""

    def __post_init__(self) -> None:
        validate.above(self, 0, "global_batch_size", "opt_base_learning_rate")
        validate.above(self, 0, "resnet_width", "image_size", "num_classes")
        validate.share(self, "opt_momentum", "label_smoothing", "batch_norm_decay")
        validate.at_least(self, 0, "opt_weight_decay", "opt_learning_rate_warmup_epochs")
        validate.rising(self, "opt_learning_rate_decay_boundary_epochs")
        if not self.resnet_blocks or min(self.resnet_blocks) < 1:
            raise ValueError(f"resnet_blocks: found {list(self.resnet_blocks)}, expected at least 1 in each stage")
        self._check_steps()

    def _check_steps(self) -> None:
        boundaries, factor = self.opt_learning_rate_decay_boundary_epochs, self.opt_learning_rate_decay_factor
        if (self.opt_learning_rate_schedule == "step") != (boundaries is not None and factor is not None):
            found = f"found schedule {self.opt_learning_rate_schedule!r}, boundaries {boundaries}, factor {factor}"
            raise ValueError(
                "opt_learning_rate_decay_boundary_epochs, opt_learning_rate_decay_factor: "
                f"{found}, expected both with the schedule 'step', and neither with another"
            )


@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    """Settings of the machine; they do not change the mathematics."""

    data_folder: Path = Path("data/imagenet")
    """Prepared data set: train/, validation/ and manifest.json; --data takes precedence."""
    loader: Literal["plain", "dali"] = "plain"
    """Decoder of the pictures: Pillow in threads, or NVIDIA DALI of the extra [dali], on the GPU if there is one."""
    num_compute_threads: FromZero = 0
    """Threads that compute on a CPU for each rank; 0: PyTorch's default."""
    unreadable: Literal["error", "grey"] = "error"
    """A picture that cannot be decoded ends the run, or is reported and replaced by a grey one."""
    evaluation_batch_size: FromOne = 64
    """Pictures that a rank evaluates at once."""
    epochs_between_evaluations: FromOne = 1
    """Evaluate after every so many epochs and after the last one; images per second do not include evaluations."""
    gradient_compression: Literal["none", "bf16", "fp16"] = "none"
    """Type to which gradients are rounded for the exchange between the ranks."""


def check_job(settings: Config, *, num_ranks: int, device_type: str) -> None:
    """Raise ConfigError if this many ranks, or their device (cpu or cuda), cannot train with these settings."""
    config.check_device(settings, device_type)
    config.check_shares(settings, num_ranks)
