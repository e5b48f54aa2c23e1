# SPDX-License-Identifier: Apache-2.0
"""All that can be configured; the defaults are the MLPerf HPC reference at its batch of 64.

A field of Hyperparameters is at once the TOML key, the rules' key and the event log's key. The reference scales its
rates linearly: at a global batch of B the peak is 0.001 * B / 64 and the warm-up factor B / 64.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness import config, validate
from harness.config import Config, ConfigError
from harness.system_settings import FromOne, SystemSettings


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Settings that decide how training converges; logged with every run, and borrowed as a group."""

    global_batch_size: int = 64
    """Samples of an optimizer step over all ranks."""
    opt_name: str = "sgd"
    """The optimizer; there is one."""
    sgd_opt_momentum: float = 0.9
    """Momentum, fixed in Closed."""
    opt_base_learning_rate: float = 0.001
    """The peak rate: the one at the end of warm-up."""
    opt_learning_rate_warmup_epochs: int | float = 4
    """Epochs of a linear rise to the peak."""
    opt_learning_rate_warmup_factor: float = 1.0
    """How many times smaller than the peak the first rate is."""
    opt_learning_rate_decay_boundary_epochs: tuple[int | float, ...] = (32, 64)
    """Epochs, counted from 0, after which the rate drops: `boundary < epoch`."""
    opt_learning_rate_decay_factor: tuple[float, ...] | float = (0.25, 0.125)
    """Each boundary's fraction of the peak; a single number multiplies once more at each boundary."""
    dropout: float = 0.5
    """Probability with which a hidden dense unit is dropped."""
    opt_weight_decay: float = 0.0
    """torch's weight decay of the two hidden dense kernels: twice the x of Keras' l2(x)."""

    # Open division only; None leaves the reference's procedure, and is not logged.
    opt_learning_rate_decay_schedule: Literal["linear", "polynomial", "cosine"] | None = None
    """Decay in place of the steps at the boundary epochs, from the end of warm-up on."""
    opt_learning_rate_decay_epochs: int | None = None
    """Epoch, counted from 0, in which such a decay comes to its end."""
    opt_learning_rate_decay_poly_power: float | None = None
    """Power of the polynomial decay."""
    opt_end_learning_rate: float | None = None
    """Rate at its end; 0 where left out."""
    augmentation: Literal["cube_symmetries"] | None = None
    """Each training sample turned by one of the 48 symmetries of the cube, drawn anew each time."""

    def __post_init__(self) -> None:
        validate.above(self, 0, "global_batch_size", "opt_base_learning_rate", "opt_learning_rate_warmup_factor")
        validate.rising(self, "opt_learning_rate_decay_boundary_epochs")
        validate.share(self, "dropout")
        self._check_decay()
        if self.opt_name.lower() != "sgd":
            raise ValueError(f"opt_name: found {self.opt_name!r}, expected 'sgd'")

    def _check_decay(self) -> None:
        boundaries, factors = self.opt_learning_rate_decay_boundary_epochs, self.opt_learning_rate_decay_factor
        if isinstance(factors, tuple) and len(factors) != len(boundaries):
            found = f"found {len(factors)} factors, expected one for each of {len(boundaries)} boundary epochs"
            raise ValueError(f"opt_learning_rate_decay_factor: {found}, or a single number")
        if self.opt_learning_rate_decay_schedule and self.opt_learning_rate_decay_epochs is None:
            raise ValueError("opt_learning_rate_decay_epochs: missing, though a decay schedule is set")
        if (self.opt_learning_rate_decay_schedule == "polynomial") != (
            self.opt_learning_rate_decay_poly_power is not None
        ):
            raise ValueError(
                "opt_learning_rate_decay_poly_power: expected with the polynomial schedule, and only there"
            )


@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    """Settings of the machine; they do not change the mathematics."""

    data_folder: Path = Path("data/cosmoflow")
    """Prepared data set: train/, validation/ and manifest.json; --data takes precedence."""
    cache: bool = False
    """Hold every sample in memory, as int16, instead of reading it in each epoch; one copy for all ranks of a node."""
    loader: Literal["plain", "dali"] = "plain"
    """Reader of the samples: threads of this package, or NVIDIA DALI if the extra [dali] is installed."""
    evaluation_batch_size: FromOne = 4
    """Samples that a rank evaluates at once."""
    pool_first: bool = False
    """Pool before the activation: the same values, with an eighth of the activation's memory traffic."""
    spatial_parts: tuple[int, ...] = ()
    """Ranks that share each sample along depth, height and width: [2, 2] makes 4; []: each rank has whole samples."""
    max_epochs: FromOne = 128
    """Stop without success after so many epochs, as the reference does."""

    def __post_init__(self) -> None:
        if self.staging_form == "node_part" and not self.staging_folder:
            raise ValueError("staging_form: found 'node_part' without a staging_folder; name the folder on the nodes")
        if self.staging_form == "node_part" and self.spatial_parts:
            raise ValueError("staging_form: 'node_part' cannot be used with spatial_parts; set one of them")
        if self.compile and self.spatial_parts:
            raise ValueError("compile: cannot be used with spatial_parts; set one of them")


def check_job(settings: Config, *, num_ranks: int, device_type: str) -> None:
    """Raise ConfigError if this many ranks, or their device (cpu or cuda), cannot train with these settings.

    Train commands call it on every rank; `python -m compliance config --ranks N` calls it before a job is queued.
    """
    config.check_device(settings, device_type)
    parts = math.prod(settings.system.spatial_parts)
    if num_ranks % parts:
        raise ConfigError(
            f"{settings.system_path}: [system] spatial_parts: found {list(settings.system.spatial_parts)}, {parts} "
            f"ranks per sample, and {num_ranks} ranks; launch a multiple of {parts}"
        )
    who = "ranks" if parts == 1 else f"grids of {parts} ranks"
    config.check_shares(settings, num_ranks // parts, f"{num_ranks // parts} {who}")
