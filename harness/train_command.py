# SPDX-License-Identifier: Apache-2.0
"""TrainCommand: what a train command was asked for, and the run that follows; the same in all benchmarks.

request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
with launch() as world, request.run(world) as run: ...
"""

from dataclasses import dataclass, replace
from pathlib import Path

from harness import cli, config
from harness.archive import archive
from harness.config import Config, ConfigError
from harness.distributed.world import World
from harness.run import Run
from harness.staging import stage


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """The options of harness.cli.parser, with the files that they name read and checked."""

    settings: Config
    """Hyperparameters and system settings."""
    data: Path
    """Folder of the data set: --data, or the system's data_folder."""
    output: Path
    """The event log."""
    seed: int | None
    """Of the run; None: drawn."""
    resume: bool
    """Whether to go on from the last checkpoint."""

    @classmethod
    def parse(
        cls, arguments: list[str] | None, description: str, hyperparameters_type: type, system_type: type
    ) -> "TrainCommand":
        """From `arguments`, or the command line's where they are None. Raises UserError."""
        options = cli.parser(description).parse_args(arguments)
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
                f"{data}: is packed in archives; set staging_folder in {settings.system_path}, or unpack them first "
                f"with python -m harness.staging {data} TARGET"
            )
        return cls(
            settings=settings,
            data=data,
            output=options.output,
            seed=options.seed,
            resume=options.resume,
        )

    def staged(self, world: World) -> "TrainCommand":
        """The same, with the data on every node's own storage where the system asks for that: off the run's clock."""
        folder = self.settings.system.staging_folder
        return replace(self, data=stage.stage(self.data, folder, world=world)) if folder else self

    def run(self, world: World) -> Run:
        """The run, not yet entered."""
        return Run(self.settings, self.output, world=world, seed=self.seed, data=self.data, resume=self.resume)
