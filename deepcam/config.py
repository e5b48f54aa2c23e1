# SPDX-License-Identifier: Apache-2.0
"""All that can be configured; the defaults are the MLPerf HPC reference at its batch of 2048.

A field of Hyperparameters is at once the TOML key, the rules' key and the event log's key. configs/closed holds the
reference at other batches.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import config, validate
from harness.config import Config, ConfigError
from harness.system_settings import FromOne, SystemSettings

LAMB_FIELDS = ("opt_bias_correction", "opt_grad_averaging", "opt_max_grad_norm")
SCHEDULE_FIELDS = {
    "multistep": ("scheduler_milestones", "scheduler_decay_rate"),
    "cosine_annealing": ("scheduler_t_max", "scheduler_eta_min"),
}


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Settings that decide how training converges; logged with every run, and borrowed as a group.

    A field that belongs to another optimizer or schedule than the chosen one is None, and is not logged.
    """

    global_batch_size: int = 2048
    """Samples of an optimizer step: over all ranks and all accumulated gradients."""
    batchnorm_group_size: int = 1
    """Ranks that share the statistics of batch norm."""
    gradient_accumulation_frequency: int = 1
    """Forward and backward passes of a rank before each optimizer step."""
    opt_name: Literal["LAMB", "Adam", "AdamW"] = "LAMB"
    """The optimizer."""
    opt_lr: float = 0.0055
    """Learning rate: what warm-up begins or ends with, see scheduler_lr_warmup_factor."""
    opt_betas: tuple[float, ...] = (0.9, 0.999)
    """Decay of the two moments."""
    opt_eps: float = 1e-6
    """Added to the root of the second moment; fixed in Closed."""
    opt_weight_decay: float = 0.01
    """On all parameters."""
    opt_bias_correction: bool | None = True
    """LAMB: whether the moments are corrected for having begun at zero."""
    opt_grad_averaging: bool | None = True
    """LAMB: whether the first moment takes 1 - beta of a gradient, rather than all of it."""
    opt_max_grad_norm: float | None = 1.0
    """LAMB: norm that the gradients of all parameters together are scaled down to."""
    scheduler_type: Literal["multistep", "cosine_annealing"] = "multistep"
    """How the rate falls after warm-up."""
    scheduler_milestones: tuple[int | float, ...] | None = (800,)
    """multistep: steps after warm-up at which the rate falls."""
    scheduler_decay_rate: float | None = 0.1
    """multistep: what the rate is multiplied by at each."""
    scheduler_t_max: int | float | None = 9000
    """cosine_annealing: steps after warm-up until the rate is lowest."""
    scheduler_eta_min: float | None = 0.0
    """cosine_annealing: that lowest rate."""
    scheduler_lr_warmup_steps: int = 400
    """Steps of linear warm-up; 0 for none."""
    scheduler_lr_warmup_factor: float = 1.0
    """1: warm-up rises from 0 to opt_lr. Another number: from opt_lr to that multiple of it."""

    # Open division only; None leaves the reference's procedure, and is not logged.
    gradient_skipping_threshold: float | None = None
    """Relative change in an epoch below which leading layers stop being updated: see deepcam.gradient_skipping."""

    def __post_init__(self) -> None:
        for name in self._unused():
            object.__setattr__(self, name, None)
        validate.above(
            self, 0, "global_batch_size", "batchnorm_group_size", "gradient_accumulation_frequency", "opt_lr"
        )
        validate.at_least(self, 0, "scheduler_lr_warmup_steps")
        validate.rising(self, "scheduler_milestones")
        if len(self.opt_betas) != 2 or not all(0 <= beta < 1 for beta in self.opt_betas):
            raise ValueError(f"opt_betas: found {list(self.opt_betas)}, expected two numbers of at least 0 and below 1")

    def _unused(self) -> list[str]:
        other = [names for schedule, names in SCHEDULE_FIELDS.items() if schedule != self.scheduler_type]
        return [*(() if self.opt_name == "LAMB" else LAMB_FIELDS), *(name for names in other for name in names)]


@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    """Settings of the machine; they do not change the mathematics."""

    data_folder: Path = Path("data/deepcam")
    """Prepared data set: train/, validation/, stats.h5 and manifest.json; --data takes precedence."""
    cache: bool = False
    """Hold every sample in memory instead of reading it in each epoch; one copy for all ranks of a node."""
    loader: Literal["plain", "dali"] = "plain"
    """Reader of the samples: worker processes of this package, or NVIDIA DALI if the extra [dali] is installed."""
    evaluation_batch_size: FromOne = 2
    """Samples that a rank evaluates at once."""
    channels_last: bool = True
    """Memory order of the fields: channels last (NHWC), as they are on disk."""
    max_epochs: FromOne = 128
    """Stop without success after so many epochs."""


def check_job(settings: Config, *, num_ranks: int, device_type: str) -> None:
    """Raise ConfigError if this many ranks, or their device (cpu or cuda), cannot train with these settings.

    The ranks share a global batch equally in each pass, and form whole batch-norm groups.
    """
    config.check_device(settings, device_type)
    hyperparameters = settings.hyperparameters
    passes = hyperparameters.gradient_accumulation_frequency
    config.check_shares(settings, num_ranks * passes, f"{num_ranks} ranks x {passes} accumulated gradients")
    if num_ranks % hyperparameters.batchnorm_group_size:
        raise ConfigError(
            f"{settings.hyperparameters_path}: batchnorm_group_size: found {hyperparameters.batchnorm_group_size}, "
            f"expected a divisor of the number of ranks, {num_ranks}"
        )
    if settings.system.cuda_graph and hyperparameters.gradient_skipping_threshold is not None:
        raise ConfigError(
            f"{settings.system_path}: [system] cuda_graph: cannot be used with gradient_skipping_threshold, which "
            "changes the step between epochs; set one of them"
        )
