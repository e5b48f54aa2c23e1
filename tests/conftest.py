# SPDX-License-Identifier: Apache-2.0
"""Fixtures that tests of several packages share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published_results() -> Path:
    """Folder with the logs of public rounds: HPC_RESULTS, else shared/results beside the project."""
    folder = Path(os.environ.get("HPC_RESULTS") or Path(__file__).parents[2] / "shared" / "results")
    if not folder.is_dir():
        pytest.skip(f"no published results in {folder}; name their folder in HPC_RESULTS")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder with small inputs on which the checker or the packager was once wrong: shared/cases beside the project."""
    folder = Path(__file__).parents[2] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder}")
    return folder
