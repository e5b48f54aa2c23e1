# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in PATH: exit code 0, 1 or 2, and no traceback.

python -m pytest tests/compliance/test_fuzz.py --hypothesis-profile=long      # docs/fuzzing.md tells what it found
"""

import io
import json
import os
import tempfile
from contextlib import redirect_stderr, redirect_stdout
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
]
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
VALUES = JSON | WORDS | st.integers(0, 70_000) | st.floats(0, 1)
METADATA = st.fixed_dictionaries(
    {},
    optional={
        "epoch_num": st.integers(0, 5) | JSON,
        "first_epoch_num": st.integers(0, 5) | JSON,
        "epoch_count": st.integers(0, 5) | JSON,
        "status": WORDS | JSON,
        "staging_duration": JSON,
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


def run(path: Path, verb: str, rules: str | None) -> int:
    """The command's exit code; anything that it raises fails the test."""
    arguments = [verb, str(path), *(["--rules", rules] if rules else [])]
    arguments += ["--output", str(path.parent / "report.html")] if verb == "report" else []
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as complaints:
        code = main(arguments)
    assert "Traceback" not in complaints.getvalue()
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
        "{",
        "",
    ]
).map(str.encode)
LINK = "a link"
CONTENTS = LOGS | TEXTS | st.binary(max_size=60) | st.just(LINK)
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
        elif content is LINK:
            path.symlink_to(folder)
        else:
            path.write_bytes(content)


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


@pytest.mark.parametrize("digits", [30, 400, 5000])
@pytest.mark.parametrize("number", ['"epoch_num": 2', '"staging_duration": 40.0', '"value": 512', '"time_ms": 1662904'])
def test_no_number_is_too_long(digits, number, pristine_round, tmp_path):
    text = (pristine_round / "acme/results/box/strong/cosmoflow/result_0.txt").read_text()
    path = tmp_path / "result_0.txt"
    path.write_text(text.replace(number, f"{number.split(':')[0]}: {'9' * digits}"))
    assert path.read_text() != text
    for verb in ("check", "score", "report"):
        assert run(path, verb, "mlperf_hpc_2.0") in (0, 1, 2)
