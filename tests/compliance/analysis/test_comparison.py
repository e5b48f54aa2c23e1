# SPDX-License-Identifier: Apache-2.0
"""Two rounds: the speed-up is the product of its causes, and each cause is named for what it is."""

import json
import math
import shutil

import pytest

from compliance.analysis import comparison
from compliance.analysis.comparison import FASTEST, SAME_SYSTEM, compare
from compliance.commands import _analysis


@pytest.fixture
def later_round(valid_round, tmp_path):
    """A copy of the round, to be changed."""
    return shutil.copytree(valid_round, tmp_path / "later")


def entries(folder):
    return _analysis.read(folder, "mlperf_hpc_2.0")[1]


def rerun(run_log, folder, benchmark, org, num_runs, **options):
    for index in range(num_runs):
        run_log(benchmark, org=org, seed=700 + index, **options).write(folder / f"result_{index}.txt")


def of(pairs, basis, benchmark):
    return next(pair for pair in pairs if pair.basis == basis and pair.later.benchmark == benchmark)


def test_fewer_epochs(valid_round, later_round, run_log):
    rerun(run_log, later_round / "beta/results/rack/strong/deepcam", "deepcam", "beta", 5, num_epochs=6)
    pair = of(compare(entries(valid_round), entries(later_round)), FASTEST, "deepcam")
    assert pair.by_epochs == pytest.approx(2)
    assert pair.by_units == 1
    assert pair.by_rate == pytest.approx(1, abs=0.01)
    assert pair.speedup == pytest.approx(math.prod(pair.factors.values()))


def test_the_same_device_is_software_and_another_one_hardware(valid_round, later_round, run_log):
    rerun(run_log, later_round / "beta/results/rack/strong/deepcam", "deepcam", "beta", 5, num_epochs=11)
    for folder, model in ((valid_round, "NVIDIA A100-SXM4-80GB (400W)"), (later_round, "A100-SXM4-80GB")):
        file = folder / "beta/systems/rack.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"accelerator_model_name": model}))
    pair = of(compare(entries(valid_round), entries(later_round)), FASTEST, "deepcam")
    assert list(pair.factors) == ["data set", "epochs", "units", "software", "staging and start-up"]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"accelerator_model_name": "H100"}))
    pair = of(compare(entries(valid_round), entries(later_round)), FASTEST, "deepcam")
    assert "hardware and software" in pair.factors


def test_a_result_that_is_submitted_again_is_called_so(valid_round, later_round):
    pairs = compare(entries(valid_round), entries(later_round))
    assert all(pair.is_same_result for pair in pairs)
    rows = comparison.table(pairs, "a", "b").rows
    assert {row["rate_cause"] for row in rows} == {"submitted again"}


def test_an_organization_is_found_in_a_joint_one_and_with_the_nearest_size(valid_round, later_round, run_log):
    """beta's rack against a larger system of beta+gamma, which is not the fastest of its round."""
    (later_round / "beta").rename(later_round / "beta+gamma")
    slower = later_round / "beta+gamma/results/rack/strong/deepcam"
    rerun(run_log, slower, "deepcam", "beta", 5, num_epochs=20, number_of_ranks=1024)
    fast = later_round / "delta/results/quick/strong/deepcam"
    rerun(run_log, fast, "deepcam", "delta", 5, num_epochs=5)
    pair = of(compare(entries(valid_round), entries(later_round)), SAME_SYSTEM, "deepcam")
    assert (pair.earlier.org, pair.later.org, pair.by_units) == ("beta", "beta+gamma", 2)


def test_public_rounds(published_results):
    """From v0.7 to v2.0 the causes of every pair multiply to its speed-up."""
    rounds = [_analysis.read(published_results / f"hpc_results_v{name}", None)[1] for name in ("0.7", "2.0")]
    pairs = compare(*rounds)
    assert len(pairs) >= 5
    for pair in pairs:
        assert pair.speedup == pytest.approx(math.prod(pair.factors.values()))
    riken = of(pairs, SAME_SYSTEM, "cosmoflow")
    assert riken.earlier.system == "fugaku_512xA64FX_tensorflow_closed"
    assert riken.by_data_set == pytest.approx((262144 + 65536) / (524288 + 65536))
