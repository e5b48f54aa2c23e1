# SPDX-License-Identifier: Apache-2.0
"""Links from the page to files of the submission: relative, so that both can be moved together."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, kw_only=True)
class Links:
    """Folder of the page and root of the submission that it shows."""

    page_folder: Path
    root: Path
    """The submission's root."""

    def href(self, path: Path | str) -> str:
        """Address of a file; a colon is quoted as well, so that no file name reads as `javascript:`."""
        return quote(os.fsencode(os.path.relpath(path, self.page_folder)))

    def text(self, path: Path | str) -> str:
        """The path as read from the submission's root."""
        path = Path(path)
        if path == self.root:
            return path.name or str(path)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)
