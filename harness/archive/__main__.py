# SPDX-License-Identifier: Apache-2.0
"""Many small files in few archives: tar files in zstd frames of a few files each, with an index.

    python -m harness.archive data packed         # packed/part_00000.tar.zst, ..., packed/archives.json, manifest.json
    python -m harness.archive --verify packed     # every byte against the manifest
    tar --zstd -xf packed/part_00000.tar.zst      # each is an ordinary compressed archive

A parallel file system then opens a few large files instead of a million small ones, and the network carries compressed
data. harness.staging accepts both forms, and so does a benchmark's --data if the system has a staging_folder.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from compliance import command_line
from harness import cli


def parser() -> command_line.Parser:
    """Options of the command."""
    options = command_line.command("harness.archive", __doc__)
    options.add_argument("source", type=Path, nargs="?", metavar="SOURCE", help="prepared data set with manifest.json")
    options.add_argument("target", type=Path, nargs="?", metavar="TARGET", help="folder of archives to write")
    options.add_argument("--level", type=int, default=3, metavar="N", help="level of zstd (%(default)s)")
    options.add_argument("--verify", type=Path, metavar="FOLDER", help="compare every file in FOLDER with its manifest")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; `arguments` replaces the command line's."""
    options = parser()
    given = options.parse_args(arguments)
    if not given.verify and not given.target:
        options.error("expected SOURCE and TARGET, or --verify FOLDER")
    command_line.require("train")
    from harness.archive import archive  # imports PyTorch, which takes seconds; --help does not wait for it

    folder = given.verify or given.target
    index = archive.verify(folder) if given.verify else archive.pack(given.source, given.target, level=given.level)
    num_bytes = sum(frame.bytes for frame in index.frames)
    num_files = sum(len(frame.members) for frame in index.frames)
    print(f"{folder}: {num_files} files in {num_bytes / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
