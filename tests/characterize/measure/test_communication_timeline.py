# SPDX-License-Identifier: Apache-2.0
"""Parts of the communication timeline, computed from invented times in which each part is visible."""

import pytest
import torch

from characterize.measure.communication_timeline import (
    PARTS,
    Bucket,
    Phases,
    StepTimes,
    divide,
    mean_phases,
    phases_of,
)
from characterize.measure.step_profile import KINDS, OTHER, kind_of, profile_steps, sum_by_kind
from characterize.measure.training_step import TrainingStep


def bucket(index, *, ready, packed, reduced, unpacked, step=0):
    return Bucket(
        step=step,
        index=index,
        num_bytes=8,
        backward_s=10.0,
        ready_s=10 + ready,
        packed_s=10 + packed,
        reduced_s=10 + reduced,
        unpacked_s=10 + unpacked,
    )


def test_each_part_is_where_it_happens():
    """The other rank is 2 s late with the first bucket; the second is packed while the first is on its way."""
    early = [
        bucket(0, ready=1, packed=2, reduced=9, unpacked=9.5),
        bucket(1, ready=5, packed=6, reduced=12, unpacked=12.5),
    ]
    late = [
        bucket(0, ready=3, packed=4, reduced=9, unpacked=9.5),
        bucket(1, ready=5, packed=6, reduced=12, unpacked=12.5),
    ]
    assert divide([early, early[:1] + late[1:]])["wait for other data"] == 0
    found = divide([early, late])
    assert list(found) == list(PARTS)
    assert found["negotiation"] == 0
    assert found["wait for data"] == pytest.approx(((1 + 3) + (3 + 1)) / 2)
    assert found["memcpy in"] == pytest.approx(2)
    assert found["wait for other data"] == pytest.approx((2 + 0) / 2)
    assert found["queuing"] == pytest.approx(3)  # packed at 6, and the first all-reduce ends at 9
    assert found["all-reduce"] == pytest.approx((9 - 4) + (12 - 9))
    assert found["memcpy out"] == pytest.approx(1)


def test_phases_add_up_to_the_step():
    """Two buckets: the first is reduced while the second is computed, the second after the last gradient."""
    step = StepTimes(step=0, start_s=8.0, backward_s=10.0, backward_end_s=17.0, end_s=18.5)
    buckets = [
        bucket(0, ready=1, packed=1.5, reduced=4, unpacked=4),
        bucket(1, ready=5, packed=5.5, reduced=6.5, unpacked=7),
    ]
    (phases,) = phases_of([step], buckets)
    assert phases == Phases(
        forward=2.0, backward=5.0, exposed_communication=2.0, optimizer=1.5, hidden_communication=2.5
    )
    assert phases.step == 18.5 - 8.0


def test_buckets_that_travel_together_are_hidden_once():
    step = StepTimes(step=0, start_s=10.0, backward_s=10.0, backward_end_s=20.0, end_s=20.0)
    buckets = [bucket(n, ready=n, packed=n, reduced=9, unpacked=9) for n in (1, 2, 9)]
    assert phases_of([step], buckets)[0].hidden_communication == 8.0  # from 1 to 9, not 8 + 7


def test_mean_of_phases():
    def phases(seconds):
        return Phases(forward=seconds, backward=1, exposed_communication=0, optimizer=0, hidden_communication=seconds)

    assert mean_phases([phases(1), phases(3)]) == phases(2)


def test_the_time_of_the_optimizer_is_its_own_kind(toy):
    """Its multiplications and additions have no name of their own; the annotation around them tells."""
    step = TrainingStep.build(toy, size=(8, 8), num_samples=2, device=torch.device("cpu"))
    kinds = profile_steps(step, num_steps=2, device=torch.device("cpu"))
    assert kinds["optimizer"] > 0
    assert kinds["convolution"] > 0
    assert kinds["optimizer"] < sum(kinds.values())


def test_parts_are_means_over_steps():
    quick = [bucket(0, ready=1, packed=1, reduced=2, unpacked=2)]
    slow = [bucket(0, ready=1, packed=1, reduced=4, unpacked=4, step=1)]
    assert divide([quick + slow, quick + slow])["all-reduce"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::convolution_backward", "convolution"),
        ("aten::addmm", "GEMM"),
        ("aten::mm", "GEMM"),
        ("aten::native_batch_norm_backward", "normalization"),
        ("aten::native_group_norm", "normalization"),
        ("aten::max_pool3d_with_indices", "pooling"),
        ("aten::copy_", "copies"),
        ("aten::leaky_relu_", OTHER),
        ("aten::add_", OTHER),
        ("gloo:all_reduce", "communication"),
        ("ncclDevKernel_AllReduce_Sum_f32_RING_LL", "communication"),
        ("sm80_xmma_gemm_f32f32", "GEMM"),
    ],
)
def test_kinds_of_operators(operator, kind):
    assert kind_of(operator) == kind


def test_sums_name_every_kind():
    found = sum_by_kind([("aten::mm", 1.0), ("aten::addmm", 2.0), ("aten::add", 4.0)])
    assert found["GEMM"] == 3
    assert found[OTHER] == 4
    assert set(found) == {*(name for name, _ in KINDS), OTHER}
