# SPDX-License-Identifier: Apache-2.0
"""TrainCommand: the request of a train command and the run that follows; the same in all benchmarks.

request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
with launch() as world, request.run(world) as run: ...
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from harness import cli, config
from harness.archive import archive
from harness.config import Config, ConfigError
from harness.distributed.world import World, launch
from harness.run import Run
from harness.staging import stage


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """The options of harness.cli.parser; the files that they name are read and checked."""

    settings: Config
    """Hyperparameters and system settings."""
    data: Path
    """Folder of the data set: --data, or the system's data_folder."""
    output: Path
    """The event log."""
    seed: int | None
    """Seed of the run; None for a random one."""
    resume: bool
    """True to continue from the last checkpoint."""

    @classmethod
    def parse(
        cls, arguments: list[str] | None, description: str, hyperparameters_type: type, system_type: type
    ) -> "TrainCommand":
        """Parse `arguments`; None for those of the command line. Raises UserError."""
        package = hyperparameters_type.__module__.partition(".")[0]
        options = cli.parser(f"{package}.train", description).parse_args(arguments)
        settings = config.load(
            options.config,
            options.hyperparameters,
            options.system,
            hyperparameters_type=hyperparameters_type,
            system_type=system_type,
        )
        data = options.data or settings.system.data_folder
        if archive.is_packed(data) and not settings.system.staging_folder:
            raise ConfigError(
                f"{data}: the data set is packed in archives; set staging_folder in {settings.system_path}, or unpack "
                f"them first with python -m harness.staging {data} TARGET"
            )
        return cls(
            settings=settings,
            data=data,
            output=options.output,
            seed=options.seed,
            resume=options.resume,
        )

    def launch(self) -> AbstractContextManager[World]:
        """Join the other ranks as the system asks for it, for the block. Raises LaunchError."""
        system = self.settings.system
        return launch(backend=system.backend, watchdog_minutes=system.watchdog_minutes)

    def staged(self, world: World) -> "TrainCommand":
        """The request with its data staged to the storage of every node, off the clock, if the system asks for it."""
        system = self.settings.system
        if not system.staging_folder:
            return self
        return replace(self, data=stage.stage(self.data, system.staging_folder, world=world, form=system.staging_form))

    def run(self, world: World) -> Run:
        """The run; the caller enters it."""
        return Run(self.settings, self.output, world=world, seed=self.seed, data=self.data, resume=self.resume)
