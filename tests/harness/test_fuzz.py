# SPDX-License-Identifier: Apache-2.0
"""Manifests, archives, data and checkpoints with any content: one line or the right bytes, and nothing written outside.

FUZZ_EXAMPLES=2500 python -m pytest tests/harness/test_fuzz.py      # docs/fuzzing.md says what it found
"""

import hashlib
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.files.errors import UserError
from harness import checkpoint
from harness.archive import archive
from harness.checkpoint import NUM_DIGITS, Checkpoint
from harness.data import manifest
from harness.data.manifest import Manifest, Split, describe
from harness.staging.stage import stage

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "30")), deadline=None, suppress_health_check=list(HealthCheck)
)
MAX_GROWTH_BYTES = 300 * 10**6
FILES = {name: bytes(range(256)) * 9 + name.encode() for name in ("train/a", "train/b", "validation/c")}
HUGE = st.sampled_from([-1, 2**31, 2**63, 10**17, 10**400])
NAMES = st.sampled_from(
    ["../x", "/etc/x", "train/../../x", "train/a", "train/new", "", ".", "a\0b", "part_00000.tar.zst"]
)
SCALARS = st.none() | st.booleans() | st.integers(0, 5000) | HUGE | st.floats() | NAMES | st.text(max_size=6)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
DAMAGE = st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A folder with a small data set, `plain` and `packed`."""
    folder = tmp_path_factory.mktemp("data")
    plain = folder / "plain"
    for name, content in FILES.items():
        (plain / name).parent.mkdir(parents=True, exist_ok=True)
        (plain / name).write_bytes(content)
    splits = {
        split: Split(num_samples=count, files=tuple(describe(plain, plain / name) for name in names))
        for split, count, names in (("train", 2, ("train/a", "train/b")), ("validation", 1, ("validation/c",)))
    }
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=splits, **description).save(plain)
    archive.pack(plain, folder / "packed")
    return folder


@contextmanager
def copy_of(pristine: Path, form: str) -> Iterator[tuple[Path, Path]]:
    """A copy of a data set to damage and a place to stage it to; nothing else may appear, and memory is bounded."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        shutil.copytree(pristine / form, root / "in" / form)
        yield root / "in" / form, root / "out" / "target"
        assert {path.name for path in root.iterdir()} <= {"in", "out"}
        assert {path.name for path in (root / "in").iterdir()} == {form}
        if (root / "out").exists():
            assert all(path.name.startswith(("target", ".target")) for path in (root / "out").iterdir())
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MAX_GROWTH_BYTES


def check_message(error: UserError) -> None:
    """A line for each fault, at most ten."""
    assert 1 <= len(str(error).splitlines()) <= 10


def use(folder: Path, target: Path) -> None:
    """Do all that a user does with a data set of others; what is staged has the bytes that its manifest promises."""
    for look in (lambda: manifest.verify_whole(folder), lambda: archive.verify(folder)):
        try:
            look()
        except UserError as error:
            check_message(error)
    try:
        stage(folder, target)
    except UserError as error:
        check_message(error)
        return
    staged = Manifest.load(target)
    for file in (file for split in staged.splits.values() for file in split.files):
        assert hashlib.sha256((target / file.path).read_bytes()).hexdigest() == file.sha256


def changed(values: object, draw: st.DataObject) -> object:
    """JSON with one value, at any depth, replaced by another, removed or doubled."""
    if not isinstance(values, dict | list) or not values or draw.draw(st.integers(0, 5)) == 0:
        return draw.draw(JSON)
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = draw.draw(st.sampled_from(keys))
    kind = draw.draw(st.sampled_from(["deeper", "deeper", "deeper", "remove", "double"]))
    copy = dict(values) if isinstance(values, dict) else list(values)
    if kind == "remove":
        del copy[key]
    elif kind == "double" and isinstance(copy, list):
        copy.append(copy[key])
    else:
        copy[key] = changed(copy[key], draw)
    return copy


def names_of_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def damage(path: Path, changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(path.read_bytes())
    for position, replacement in changes:
        start = position % max(1, len(content))
        content[start : start + len(replacement)] = replacement
    path.write_bytes(content)


@given(form=st.sampled_from(["plain", "packed", "packed"]), draw=st.data())
@FUZZ
def test_any_change_of_a_listing(form, draw, pristine):
    with copy_of(pristine, form) as (folder, target):
        names = sorted(path.name for path in folder.glob("*.json"))
        listing = folder / draw.draw(st.sampled_from(names))
        values = json.loads(listing.read_text())
        for _ in range(draw.draw(st.integers(1, 2))):
            values = changed(values, draw)
        listing.write_text(json.dumps(values))
        use(folder, target)


@given(form=st.sampled_from(["plain", "packed", "packed"]), changes=DAMAGE, draw=st.data())
@FUZZ
def test_any_damage_of_a_file(form, changes, draw, pristine):
    with copy_of(pristine, form) as (folder, target):
        damage(folder / draw.draw(st.sampled_from(names_of_files(folder))), changes)
        use(folder, target)


@given(
    form=st.sampled_from(["plain", "packed"]),
    kind=st.sampled_from(["link", "pipe", "folder", "device", "none"]),
    draw=st.data(),
)
@FUZZ
def test_anything_in_the_place_of_a_file(form, kind, draw, pristine):
    with copy_of(pristine, form) as (folder, target):
        file = folder / draw.draw(st.sampled_from(names_of_files(folder)))
        file.unlink()
        if kind == "link":
            file.symlink_to("/etc/passwd")
        elif kind == "device":
            file.symlink_to("/dev/zero")
        elif kind == "pipe":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        use(folder, target)


TENSORS = st.sampled_from([torch.zeros(3), torch.tensor(float("nan")), torch.zeros(0, dtype=torch.uint8)])
STATES = st.recursive(
    SCALARS.filter(lambda value: not isinstance(value, int) or abs(value) < 2**63) | TENSORS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
FIELDS = dict.fromkeys(Checkpoint.__dataclass_fields__, STATES)


@given(content=st.binary(max_size=300) | STATES | st.fixed_dictionaries(FIELDS), num_ranks=st.integers(1, 2))
@FUZZ
def test_any_content_under_a_right_hash_is_a_checkpoint_or_damaged(content, num_ranks, capfd):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "epoch_000001.tmp"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:NUM_DIGITS]
        output = Path(folder) / "result_0.txt"
        named = checkpoint.folder_of(output) / f"epoch_000001_{digest}.pt"
        named.parent.mkdir()
        path.rename(named)
        with suppress(UserError):
            found = checkpoint._latest(output, num_ranks)
            assert isinstance(found, Checkpoint)
            assert "seed" in found.identity
    assert "Traceback" not in capfd.readouterr().err
