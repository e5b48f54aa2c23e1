# SPDX-License-Identifier: Apache-2.0
"""Local ranks: collectives over two ranks, and the message if a rank fails."""

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from characterize.commands import allreduce
from characterize.measure.collectives import WRONG, Case, _torch_is_wrong
from characterize.measure.communication_timeline import PARTS, Recorder, divide
from characterize.measure.ranks import on_ranks, oversubscription
from characterize.results.result import CharacterizeError, Result

SETTINGS = {"collectives": list(allreduce.COLLECTIVES), "data_types": ["fp32"], "sizes": [8, 3000], "repeats": 2}


@pytest.fixture(scope="module")
def gloo_rows():
    rows = on_ranks("characterize.measure.collectives:sweep", SETTINGS, num_ranks=2)
    return [allreduce.with_bandwidth(row, num_ranks=2) for row in rows]


def test_every_collective_is_timed_or_said_to_be_missing(gloo_rows):
    assert {row["collective"] for row in gloo_rows} == set(allreduce.COLLECTIVES)
    assert {row["library"] for row in gloo_rows} == {"gloo"}
    timed = [row for row in gloo_rows if "error" not in row]
    assert {"all_reduce", "broadcast", "point_to_point"} <= {row["collective"] for row in timed}
    assert all(row["seconds"] > 0 and row["bytes"] in (8, 3000) for row in timed)


def test_bus_bandwidth_of_two_ranks_is_that_of_the_algorithm(gloo_rows):
    reduced = [row for row in gloo_rows if row["collective"] == "all_reduce"]
    assert all(row["busbw"] == row["algbw"] == row["bytes"] / row["seconds"] for row in reduced)


def test_a_result_is_a_table_and_a_picture(gloo_rows):
    head = {"library": "gloo", "collective": "all_to_all", "data_type": "fp32"}
    wrong = head | {"error": WRONG, "bytes": 64}
    rows = [*gloo_rows, head | {"error": "not offered"}, wrong]
    data = {"rows": rows, "num_ranks": 2, "messages": {"CosmoFlow": 35_630_224}, "warning": "2 ranks share 1 cores"}
    result = Result(name="allreduce", verb="allreduce", settings=SETTINGS, data=data)
    rows = [row for table in allreduce.tables(result) for row in table.rows]
    assert len(rows) == len(data["rows"])
    assert ["gloo", "fp32", "not offered", "not offered", "", "", ""] in rows
    assert ["gloo", "fp32", "64 B", "WRONG RESULT", "", "", ""] in rows
    assert all("2 ranks share 1 cores" in table.note for table in allreduce.tables(result))
    assert list(allreduce.figures(result)) == ["allreduce"]
    assert allreduce.best_bus_bandwidth(result)[1] == "gloo"


@pytest.mark.parametrize("data_type", ["bf16", "fp64", "int32"])
def test_other_data_types(data_type):
    settings = {"collectives": ["all_reduce", "broadcast"], "data_types": [data_type], "sizes": [256], "repeats": 2}
    rows = on_ranks("characterize.measure.collectives:sweep", settings, num_ranks=2)
    assert {row["data_type"] for row in rows} == {data_type}
    assert all(row["bytes"] == 256 for row in rows if "error" not in row)
    assert rows[0].get("error") != WRONG


@pytest.mark.parametrize("num_ranks", [2, 3, 5])
def test_expected_results_follow_from_the_inputs(num_ranks):
    """The right result of every rank, computed from all inputs; a changed value is noticed."""
    num_values = 6 * num_ranks

    def cases(collective):
        ranks = range(num_ranks)
        return [Case(collective=collective, num_values=num_values, rank=rank, num_ranks=num_ranks) for rank in ranks]

    reduced = cases("all_reduce")
    total = sum(case.input() for case in reduced)
    scattered, exchanged = cases("reduce_scatter"), cases("all_to_all")
    for rank, case in enumerate(reduced):
        assert case.is_right(total)
        assert not case.is_right(total + (np.arange(num_values) == 1))
        assert scattered[rank].is_right(sum(other.input() for other in scattered)[case.part])
        assert exchanged[rank].is_right(np.concatenate([other.input()[case.part] for other in exchanged]))
    gathered = np.concatenate([case.input() for case in cases("all_gather")])
    assert all(case.is_right(gathered) for case in cases("all_gather"))
    assert all(case.is_right(cases("broadcast")[0].input()) for case in cases("broadcast"))
    sent = [case.input() for case in cases("point_to_point")]
    assert all(case.is_right(sent[case.rank - 1]) for case in cases("point_to_point")[1::2])


def test_a_wrong_sum_is_found(one_rank):
    """A library that adds one value too many."""
    case = Case(collective="all_reduce", num_values=12, rank=0, num_ranks=1)
    result = torch.from_numpy(case.input()).float()
    world = SimpleNamespace(device=torch.device("cpu"), all_reduce_sum=torch.tensor)
    assert not _torch_is_wrong(case, lambda: None, result.clone(), world)
    assert _torch_is_wrong(case, lambda: result.add_(torch.arange(12) == 3), result, world)


def test_ranks_that_share_cores_are_warned_about(monkeypatch):
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert oversubscription(2) == ""
    assert oversubscription(4).startswith("4 ranks share 2 cores")


@pytest.mark.skipif(find_spec("mpi4py") is None, reason="mpi4py is not installed")
def test_mpi_stands_beside_it():
    settings = {"collectives": ["all_reduce", "all_gather"], "data_types": ["fp32"], "sizes": [64], "repeats": 2}
    rows = on_ranks("characterize.measure.collectives:sweep_mpi", settings, num_ranks=2, mpi=True)
    assert [row["collective"] for row in rows] == ["all_reduce", "all_gather"]
    assert all(row["seconds"] > 0 and row["bytes"] == 64 for row in rows)


def test_a_failing_rank_is_one_sentence():
    with pytest.raises(CharacterizeError, match=r"2 ranks on this machine: .*KeyError"):
        on_ranks("characterize.measure.collectives:sweep", {}, num_ranks=2)


def test_no_rank_is_refused():
    with pytest.raises(CharacterizeError, match="ranks: found 0"):
        on_ranks("characterize.measure.collectives:sweep", SETTINGS, num_ranks=0)


@pytest.fixture
def one_rank():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("compression", ["none", "bf16"])
def test_the_hook_notes_every_bucket_and_changes_no_gradient(one_rank, compression):
    torch.manual_seed(0)
    layer = nn.Linear(8, 4)
    value = torch.rand(3, 8)
    expected = torch.autograd.grad(layer(value).sum(), layer.weight)[0]
    model, recorder = DistributedDataParallel(layer), Recorder(compression=compression)
    model.register_comm_hook(recorder, Recorder.hook)
    loss = model(value).sum()
    recorder.begin_backward()
    loss.backward()
    torch.testing.assert_close(layer.weight.grad, expected, rtol=1e-2 if compression == "bf16" else 1e-6, atol=0)
    assert [bucket.num_bytes for bucket in recorder.buckets] == [36 * (2 if compression == "bf16" else 4)]
    assert set(divide([recorder.buckets])) == set(PARTS)
    moments = recorder.buckets[0]
    assert moments.backward_s <= moments.ready_s <= moments.packed_s <= moments.reduced_s <= moments.unpacked_s
