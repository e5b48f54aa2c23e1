# SPDX-License-Identifier: Apache-2.0
"""SHA-256 digests of what a run trains with: its code, its configuration files and the manifest of its data set.

    provenance.digests(config, data)        # {"code_sha256": ..., "data_manifest_sha256": ...}

They are in the log, whose chain of digests covers them, so that a reviewer can compare the submitted files with what
ran: `sha256sum hyperparameters.toml`, and for the code the command in compliance/submissions/source_code.py.
"""

from functools import cache
from pathlib import Path

from compliance.files.errors import UserError
from compliance.submissions import source_code
from harness.config import Config
from harness.data import manifest
from harness.data.manifest import sha256


def digests(config: Config, data: Path | None) -> dict[str, str]:
    """Digest by the key of its event. A part that does not exist has none."""
    files = {
        "hyperparameters_sha256": config.hyperparameters_path,
        "system_sha256": config.system_path,
        "data_manifest_sha256": data / manifest.FILE_NAME if data else None,
    }
    found = {key: sha256(path) for key, path in files.items() if path and path.is_file()}
    code = _code(config.benchmark.name)
    return {"code_sha256": code, **found} if code else found


@cache
def _code(package: str) -> str:
    try:
        return source_code.digest(source_code.installed_files(package))
    except UserError:  # a benchmark of another program
        return ""
