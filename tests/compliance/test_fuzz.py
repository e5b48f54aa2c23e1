# SPDX-License-Identifier: Apache-2.0
"""For any content of PATH: exit code 0, 1 or 2, no traceback, no escape code, no hang.

FUZZ_EXAMPLES=2500 python -m pytest tests/compliance/test_fuzz.py      # docs/fuzzing.md says what it found
"""

import io
import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.__main__ import main

FUZZ = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "40")), deadline=None, suppress_health_check=list(HealthCheck)
)

RULES = st.sampled_from(
    [None, "mlperf_hpc_0.7", "mlperf_hpc_2.0", "mlperf_hpc_3.0", "mlperf_hpc_demo", "hpc_ai500_2.0"]
)
VERBS = st.sampled_from(["check", "score", "report"])
KEYS = [
    "submission_benchmark",
    "submission_org",
    "submission_division",
    "submission_status",
    "submission_platform",
    "cache_clear",
    "seed",
    "init_start",
    "init_stop",
    "run_start",
    "run_stop",
    "staging_start",
    "staging_stop",
    "epoch_start",
    "epoch_stop",
    "block_start",
    "block_stop",
    "eval_start",
    "eval_stop",
    "eval_error",
    "eval_accuracy",
    "global_batch_size",
    "train_samples",
    "eval_samples",
    "number_of_nodes",
    "number_of_ranks",
    "accelerators_per_node",
    "gradient_accumulation_frequency",
    "opt_name",
    "opt_lr",
    "opt_betas",
    "dropout",
    "scheduler_type",
    "data_is_synthetic",
    "tracked_stats",
    "throughput",
    "flops_per_sample",
    "log_digest",
    "rule_set",
    "checkpoint",
    "restart",
    "train_loss",
    "target_accuracy",
]
NESTED = json.loads("[" * 40 + "]" * 40)
WIDE = [[]] * 1000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([10**30, -(10**400)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.sampled_from(["cosmoflow", "deepcam", "openfold", "imagenet_resnet", "closed", "open", "success", "aborted"])
VALUES = (
    JSON | WORDS | st.sampled_from([NESTED, WIDE, "x" * 4000, "\x1b[2J"]) | st.integers(0, 70_000) | st.floats(0, 1)
)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "epoch_num": st.integers(0, 5) | JSON,
        "first_epoch_num": st.integers(0, 5) | JSON,
        "epoch_count": st.integers(0, 5) | JSON,
        "status": WORDS | JSON,
        "staging_duration": JSON,
        "step_num": st.integers(0, 5000) | JSON,
        "training_epoch_latency": st.floats(0, 1e5) | JSON,
        "file": JSON | st.just("/opt/\x1b[2J/train.py"),
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "key": st.sampled_from(KEYS) | st.text(max_size=8),
        "value": VALUES,
        "time_ms": st.integers(1_600_000_000_000, 1_600_000_100_000) | st.integers() | st.floats(),
        "event_type": st.sampled_from(["POINT_IN_TIME", "INTERVAL_START", "INTERVAL_END"]) | st.text(max_size=3),
    },
    optional={"metadata": METADATA | JSON, "namespace": JSON},
)
LOG_LINES = st.lists(EVENTS.map(lambda event: f":::MLLOG {json.dumps(event)}") | st.text(max_size=20), max_size=40)
LOGS = LOG_LINES.map(lambda lines: "\n".join(lines).encode("utf-8", "surrogatepass"))


LIMIT_S = 60


@contextmanager
def time_limit() -> Iterator[None]:
    """TimeoutError if the block takes longer than any of these small inputs should."""

    def expired(*_: object) -> None:
        raise TimeoutError(f"more than {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(path: Path, verb: str, rules: str | None, *options: str) -> int:
    """The command's exit code; anything that it raises fails the test."""
    arguments = [verb, str(path), *(["--rules", rules] if rules else []), *options]
    arguments += ["--output", str(path.parent / "report.html")] if verb == "report" else []
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as complaints, time_limit():
        code = main(arguments)
    assert "Traceback" not in complaints.getvalue()
    assert "\x1b" not in printed.getvalue() + complaints.getvalue()
    assert SECRET not in printed.getvalue() + complaints.getvalue()
    return code


@given(content=st.binary(max_size=400) | LOGS, verb=VERBS, rules=RULES)
@FUZZ
def test_any_file_is_a_log(content, verb, rules):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result_0.txt"
        path.write_bytes(content)
        assert run(path, verb, rules) in (0, 1, 2)


@given(changes=st.data(), verb=VERBS)
@FUZZ
def test_any_change_of_a_valid_log(changes, verb, pristine_round):
    source = pristine_round / "acme/results/box/strong/cosmoflow/result_0.txt"
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in source.read_text().splitlines()]
    for _ in range(changes.draw(st.integers(1, 4))):
        index = changes.draw(st.integers(0, len(lines) - 1))
        lines[index] = lines[index] | changes.draw(EVENTS.map(lambda event: dict(list(event.items())[-2:])))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result_0.txt"
        path.write_text("".join(f":::MLLOG {json.dumps(line)}\n" for line in lines))
        assert run(path, verb, "mlperf_hpc_2.0") in (0, 1, 2)


NAMES = st.sampled_from(
    [
        "results",
        "systems",
        "benchmarks",
        "implementations",
        "strong",
        "weak",
        "power",
        "pruned_results",
        "acme",
        "box",
        "cosmoflow",
        "deepcam",
        "oc20",
        "result_0.txt",
        "result_1.txt",
        "result_00.txt",
        "box.json",
        "box_pytorch.json",
        "submission.toml",
        "waivers.toml",
        "borrowed.toml",
        "hyperparameters.toml",
        "layers.toml",
        "log_digests.txt",
        "log_digests.txt.sig",
        "scaling.json",
        "evil\x1b[2J",
        "README.md",
        "run_and_time.sh",
        "node_0.txt",
        ".hidden",
    ]
) | st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=6).filter(
    lambda name: name not in (".", "..")
)
TEXTS = st.sampled_from(
    [
        'rules = "mlperf_hpc_2.0"',
        "rules = 3",
        '{"division": "open"}',
        '{"number_of_nodes": "64"}',
        "[[waiver]]",
        '[[waiver]]\nrule = "L101"\npath = "."\nreason = "none"\napprover = "me"',
        '[borrowed]\nlender = "acme"\npath = "acme/results/box/strong/cosmoflow/result_0.txt"\nsha256 = "0"',
        '[borrowed]\nlender = "acme"\npath = "acme/../../../../etc/passwd/a/b"\nsha256 = "0"',
        '{"scaling_factor": 1e999}',
        '{"submitter": "a", "submitter": "\x1b[2J"}',
        "0" * 64 + "  results/box/strong/cosmoflow/result_0.txt",
        "0" * 64 + "  ../../../etc/passwd",
        "-----BEGIN SSH SIGNATURE-----",
        json.dumps({"key": WIDE}),
        "[" * 2000,
        "{",
        "",
    ]
).map(str.encode)
SECRET = "content of a file outside"
SPECIAL = ("a link", "a link outside", "/dev/zero", "a pipe", "unreadable")
CONTENTS = LOGS | TEXTS | st.binary(max_size=60) | st.sampled_from(SPECIAL)
TREES = st.recursive(
    st.dictionaries(NAMES, CONTENTS, max_size=4),
    lambda inner: st.dictionaries(NAMES, inner | CONTENTS, max_size=4),
    max_leaves=12,
)


def grow(folder: Path, tree: dict) -> None:
    folder.mkdir(exist_ok=True)
    for name, content in tree.items():
        path = folder / name
        if os.path.lexists(path) or len(os.fsencode(name)) > 200:
            continue
        if isinstance(content, dict):
            grow(path, content)
        elif isinstance(content, str):
            make_special(path, content)
        else:
            path.write_bytes(content)


def make_special(path: Path, kind: str) -> None:
    """A file that must not be opened or followed."""
    if kind == "a link":
        path.symlink_to(path.parent)
    elif kind == "a link outside":
        secret = Path(tempfile.gettempdir()) / "hpc_ai_bench_fuzz_secret"
        secret.write_text(f'{{"submitter": "{SECRET}"}}\n:::MLLOG {{"key": "{SECRET}"}}\n')
        path.symlink_to(secret)
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "unreadable":
        path.write_bytes(b":::MLLOG {}\n")
        path.chmod(0)
    else:
        path.symlink_to(kind)


@given(tree=TREES, verb=VERBS, rules=RULES)
@FUZZ
def test_any_tree_is_a_submission(tree, verb, rules):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        grow(root, tree)
        assert run(root, verb, rules) in (0, 1, 2)


@given(tree=TREES, logs=st.lists(LOGS, max_size=3), scaling=st.sampled_from(["strong", "weak"]), verb=VERBS)
@FUZZ
def test_any_content_of_a_submission(tree, logs, scaling, verb):
    """Arbitrary things in the places where a submission has its own."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "acme"
        results = root / "results" / "box" / scaling / "cosmoflow"
        results.mkdir(parents=True)
        for index, log in enumerate(logs):
            (results / f"result_{index}.txt").write_bytes(log)
        for place in (results, root / "systems", root / "benchmarks", root):
            grow(place, tree)
        assert run(root, verb, "mlperf_hpc_2.0") in (0, 1, 2)


@given(content=st.binary(max_size=200) | TEXTS, option=st.sampled_from(["--waivers", "--allowed-signers"]))
@FUZZ
def test_any_file_of_the_reviewer(content, option, pristine_round):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.write_bytes(content)
        assert run(pristine_round / "beta", "check", "mlperf_hpc_2.0", option, str(file)) in (0, 1, 2)


@pytest.mark.parametrize("digits", [30, 400, 5000])
@pytest.mark.parametrize("number", ['"epoch_num": 2', '"staging_duration": 40.0', '"value": 512', '"time_ms": 1662904'])
def test_no_number_is_too_long(digits, number, pristine_round, tmp_path):
    text = (pristine_round / "acme/results/box/strong/cosmoflow/result_0.txt").read_text()
    path = tmp_path / "result_0.txt"
    path.write_text(text.replace(number, f"{number.split(':')[0]}: {'9' * digits}"))
    assert path.read_text() != text
    for verb in ("check", "score", "report"):
        assert run(path, verb, "mlperf_hpc_2.0") in (0, 1, 2)
