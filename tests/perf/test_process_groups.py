# SPDX-License-Identifier: Apache-2.0
"""MPI is measured beside gloo, or the missing tool is named."""

import pytest

from perf import process_groups
from perf.measurement import NotMeasurable


def test_without_mpiexec_the_figures_are_left_out_with_the_reason(monkeypatch):
    monkeypatch.setattr(process_groups.shutil, "which", lambda *_, **__: None)
    with pytest.raises(NotMeasurable, match=r"mpiexec or mpi4py not found; install the extra \[mpi\]"):
        process_groups.measure()


def test_a_ratio_above_1_means_that_mpi_is_faster(monkeypatch):
    seconds = {"mpi": {"large": 0.1, "small": 2.0, "step": 1.0}, "gloo": {"large": 0.2, "small": 1.0, "step": 1.0}}
    monkeypatch.setattr(process_groups, "_seconds", seconds.__getitem__)
    assert [row.ratio for row in process_groups.measure().rows] == [2.0, 0.5, 1.0]
