# SPDX-License-Identifier: Apache-2.0
"""Fixtures that tests of several packages share."""

import os
import signal
import tarfile
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell starts background jobs with SIGINT ignored; the tests of signals, and their child processes, need it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Verdicts on the device's operators are kept for this session alone, also by the processes that tests start."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def published_results() -> Path:
    """Folder with the logs of public rounds: HPC_RESULTS, else shared/results beside the project."""
    folder = Path(os.environ.get("HPC_RESULTS") or Path(__file__).parents[2] / "shared" / "results")
    if not folder.is_dir():
        pytest.skip(f"no published results in {folder}; name their folder in HPC_RESULTS")
    return folder


@pytest.fixture(scope="session")
def public_rounds(published_results: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of the public rounds by version; v1.0 is unpacked once, v0.7 and v2.0 are used in place."""
    rounds = {version: published_results / f"hpc_results_v{version}" for version in ("0.7", "2.0")}
    archive = published_results / "hpc_results_v1.0.tar.zst"
    if archive.is_file():
        rounds["1.0"] = _unpacked(archive, tmp_path_factory.mktemp("public")) / "hpc_results_v1.0"
    return {version: folder for version, folder in rounds.items() if folder.is_dir()}


def _unpacked(archive: Path, folder: Path) -> Path:
    zstandard = pytest.importorskip("zstandard", reason="zstandard, of the extra [train], unpacks the results of v1.0")
    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Folder with small inputs on which the checker or the packager was once wrong: shared/cases beside the project."""
    folder = Path(__file__).parents[2] / "shared" / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder}")
    return folder


@pytest.fixture
def guarded_steps(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """From the second call of each step on, nothing may make the host wait for a device; counts calls by mode."""
    from harness.step import Step
    from tests.host_synchronization import no_host_synchronization

    plain, calls, by_mode = Step.__call__, Counter(), Counter()

    def guarded(step, *inputs):
        calls[step] += 1
        by_mode["training" if step.model.training else "evaluation"] += 1
        with no_host_synchronization() if calls[step] > 1 else nullcontext():
            return plain(step, *inputs)

    monkeypatch.setattr(Step, "__call__", guarded)
    return by_mode
