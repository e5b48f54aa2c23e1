# SPDX-License-Identifier: Apache-2.0
"""Every cell of Tables 4, 5 and 6 of the MLPerf HPC paper that the logs of round v0.7 contain, and every difference."""

import pytest

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.spread import Spread
from compliance.commands import _analysis

# Submission in the paper -> system folder of the round; stars are the open division.
SYSTEMS = {
    ("cosmoflow", "Piz-Daint-128"): "daint_gpu_n128_tf2.2.0",
    ("cosmoflow", "Piz-Daint-256"): "daint_gpu_n256_tf2.2.0",
    ("cosmoflow", "ABCI-512"): "abci_512xV100_tensorflow_closed",
    ("cosmoflow", "*ABCI-2048"): "abci_2048xV100_tensorflow_open",
    ("cosmoflow", "Fugaku-512"): "fugaku_512xA64FX_tensorflow_closed",
    ("cosmoflow", "Fugaku-8192"): "fugaku_8192xA64FX_tensorflow_closed",
    ("cosmoflow", "*Fugaku-16384"): "fugaku_16384xA64FX_tensorflow_open",
    ("cosmoflow", "Cori-GPU-64"): "corigpu_n64_tf1.15.0",
    ("cosmoflow", "Cori-KNL-512"): "coriknl_n512_tf1.15.2",
    ("cosmoflow", "*Cori-KNL-1024"): "coriknl_n1024_tf1.15.2",
    ("cosmoflow", "HAL-64"): "halv100_n16_tf1.15.0",
    ("cosmoflow", "Frontera-RTX-64"): "frontera_rtx_n16_tf1.15.2_lbs1",
    ("deepcam", "ABCI-1024"): "abci_1024xV100_pytorch_closed",
    ("deepcam", "*ABCI-1024"): "abci_1024xV100_fjpytorch_open",
    ("deepcam", "Cori-GPU-64"): "corigpu_n64_pt1.6.0",
}
# Table 4: processors, accelerators, minutes.
TABLE_4 = {
    ("cosmoflow", "Piz-Daint-128"): (128, 128, 461.01),
    ("cosmoflow", "Piz-Daint-256"): (256, 256, 327.01),
    ("deepcam", "ABCI-1024"): (512, 1024, 11.71),
    ("cosmoflow", "ABCI-512"): (256, 512, 34.42),
    ("cosmoflow", "Fugaku-512"): (512, 0, 268.77),
    ("cosmoflow", "Fugaku-8192"): (8192, 0, 101.49),
    ("deepcam", "Cori-GPU-64"): (16, 64, 139.29),
    ("cosmoflow", "Cori-GPU-64"): (16, 64, 364.73),
    ("cosmoflow", "Cori-KNL-512"): (512, 0, 536.06),
    ("cosmoflow", "HAL-64"): (32, 64, 265.59),
    ("cosmoflow", "Frontera-RTX-64"): (32, 64, 602.23),
    ("deepcam", "*ABCI-1024"): (512, 1024, 10.49),
    ("cosmoflow", "*ABCI-2048"): (1024, 2048, 13.21),
    ("cosmoflow", "*Fugaku-16384"): (16384, 0, 30.07),
    ("cosmoflow", "*Cori-KNL-1024"): (1024, 0, 419.69),
}
# Table 5: staging minutes, their deviation, compute-to-staging throughput.
TABLE_5 = {
    ("cosmoflow", "Cori-GPU-64"): (16.49, 0.61, 2.55),
    ("cosmoflow", "ABCI-512"): (0.76, 0.004, 2.27),
    ("cosmoflow", "*ABCI-2048"): (0.20, 0.004, 1.56),
    ("cosmoflow", "Fugaku-512"): (1.55, 0.11, 0.64),
    ("cosmoflow", "Fugaku-8192"): (3.77, 0.51, 3.59),
    ("cosmoflow", "*Fugaku-16384"): (0.88, 0.08, 4.93),
    ("deepcam", "ABCI-1024"): (2.20, 0.01, 5.55),
    ("deepcam", "*ABCI-1024"): (1.96, 0.08, 5.45),
}
# Table 6: batch, epochs ±, accelerators, training ±, evaluation ±, minutes ±, accelerator hours.
TABLE_6 = {
    ("cosmoflow", "Cori-GPU-64"): (64, 53.88, 4.85, 64, 12.07, 0.09, 21.17, 0.56, 364.73, 32.77, 389.04),
    ("cosmoflow", "ABCI-512"): (512, 100.00, 13.50, 512, 26.59, 0.90, 151.88, 0.68, 34.42, 4.03, 293.03),
    ("cosmoflow", "*ABCI-2048"): (2048, 98.50, 2.56, 2048, 16.79, 0.23, 149.21, 0.28, 13.21, 0.35, 450.96),
    ("deepcam", "Cori-GPU-64"): (128, 10.00, 0.00, 64, 3.56, 0.13, 3.55, 0.18, 139.29, 3.63, 148.58),
    ("deepcam", "ABCI-1024"): (2048, 24.00, 0.00, 1024, 5.24, 0.02, 7.37, 0.01, 11.71, 0.02, 199.78),
    ("deepcam", "*ABCI-1024"): (2048, 23.67, 1.16, 1024, 5.57, 0.13, 4.67, 0.82, 10.49, 0.23, 178.95),
}
# Cells in which the logs give another number than the paper: the number of the logs. The paper's Fugaku-512 and
# ABCI-512 were computed from other runs than the published ones: its ABCI-512 has a mean of 100.00 epochs, and the ten
# logs have 99.62 without the fastest and the slowest.
DIFFERENCES = {
    ("table 4", "cosmoflow", "Fugaku-512", 2): 249.35,
    ("table 5", "cosmoflow", "ABCI-512", 2): 2.26,
    ("table 6", "cosmoflow", "ABCI-512", 1): 99.62,
    ("table 6", "cosmoflow", "ABCI-512", 2): 12.89,
    ("table 6", "cosmoflow", "ABCI-512", 4): 26.42,
    ("table 6", "cosmoflow", "ABCI-512", 5): 0.69,
    ("table 6", "cosmoflow", "ABCI-512", 6): 151.73,
    ("table 6", "cosmoflow", "ABCI-512", 7): 0.63,
    ("table 6", "cosmoflow", "ABCI-512", 9): 4.15,
    ("table 6", "cosmoflow", "ABCI-512", 10): 293.73,
    ("table 6", "deepcam", "Cori-GPU-64", 10): 148.57,  # 139.2886 minutes x 64 / 60 = 148.5745
    ("table 6", "deepcam", "*ABCI-1024", 2): 1.15,  # 1.1547: the paper rounds up
}


@pytest.fixture(scope="module")
def entries(published_results) -> dict[tuple[str, str], EntryFigures]:
    _, figures = _analysis.read(published_results / "hpc_results_v0.7", "mlperf_hpc_0.7")
    return {(entry.benchmark, entry.system): entry for entry in figures}


def cells_of(entry: EntryFigures, table: str) -> tuple[float | None, ...]:
    if table == "table 4":
        system = entry.hardware
        return system.num_processors, system.num_accelerators or 0, entry.score.minutes
    if table == "table 5":
        return *both(entry.staging_minutes), entry.staging_ratio
    rates = (*both(entry.training_rate_per_unit), *both(entry.evaluation_rate_per_unit))
    return entry.batch_size, *both(entry.epochs), entry.units, *rates, *both(entry.minutes), entry.compute_budget_hours


def both(spread: Spread | None) -> tuple[float, float]:
    assert spread is not None
    return spread.mean, spread.deviation


@pytest.mark.parametrize(
    ("table", "paper", "submission"),
    [
        (table, paper, submission)
        for table, paper in (("table 4", TABLE_4), ("table 5", TABLE_5), ("table 6", TABLE_6))
        for submission in paper
    ],
)
def test_a_row_of_the_paper(entries, table, paper, submission):
    benchmark, name = submission
    computed = cells_of(entries[benchmark, SYSTEMS[submission]], table)
    for column, (cell, printed) in enumerate(zip(computed, paper[submission], strict=True)):
        expected = DIFFERENCES.get((table, benchmark, name, column), printed)
        assert cell == pytest.approx(expected, abs=half_a_digit(expected)), column


def half_a_digit(printed: float) -> float:
    """The paper prints two decimals, one digit of small deviations, and whole numbers of processors."""
    if isinstance(printed, int):
        return 0
    return 0.51 * 10 ** -max(2, len(f"{printed}".partition(".")[2]))


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_every_listed_difference_is_one(difference):
    table, benchmark, name, column = difference
    paper = {"table 4": TABLE_4, "table 5": TABLE_5, "table 6": TABLE_6}[table]
    assert paper[benchmark, name][column] != DIFFERENCES[difference]


def test_staging_is_measured_where_the_paper_has_it(entries):
    staged = {key for key, entry in entries.items() if entry.staging_minutes is not None}
    assert staged == {(benchmark, SYSTEMS[benchmark, name]) for benchmark, name in TABLE_5}


def test_shares_that_the_paper_states_in_its_text(entries):
    """Section 4.1: staging 19 % for DeepCAM and 2.2 % and 1.5 % for CosmoFlow on ABCI; evaluation 36.3, 4 and 1.3 %."""

    def of(benchmark, name):
        return entries[benchmark, SYSTEMS[benchmark, name]]

    assert of("deepcam", "ABCI-1024").staging_share == pytest.approx(0.19, abs=0.005)
    assert of("cosmoflow", "ABCI-512").staging_share == pytest.approx(0.022, abs=0.0005)
    assert of("cosmoflow", "*ABCI-2048").staging_share == pytest.approx(0.015, abs=0.0005)
    assert of("deepcam", "Cori-GPU-64").evaluation_share == pytest.approx(0.363, abs=0.0005)
    assert of("deepcam", "ABCI-1024").evaluation_share == pytest.approx(0.04, abs=0.0005)
    assert of("deepcam", "*ABCI-1024").evaluation_share == pytest.approx(0.013, abs=0.0005)


def test_equation_2_predicts_the_measured_share(entries):
    for entry in entries.values():
        if entry.staging_share is not None:
            assert entry.predicted_staging_share == pytest.approx(entry.staging_share, rel=0.05)


def test_run_to_run_variation_as_in_the_caption_of_table_4(entries):
    """DeepCAM 1.7 %, CosmoFlow 11.1 % without the two largest; those have 2.2 % where the paper says 2.8 %."""
    largest = {SYSTEMS["cosmoflow", name] for name in ("*ABCI-2048", "*Fugaku-16384")}

    def mean(chosen):
        deviations = [entry.minutes.relative for key, entry in entries.items() if chosen(*key)]
        return sum(deviations) / len(deviations)

    assert mean(lambda benchmark, system: benchmark == "deepcam") == pytest.approx(0.017, abs=0.0005)
    assert mean(lambda benchmark, system: benchmark == "cosmoflow" and system not in largest) == pytest.approx(
        0.111, abs=0.0006
    )
    assert mean(lambda benchmark, system: system in largest) == pytest.approx(0.022, abs=0.0005)
