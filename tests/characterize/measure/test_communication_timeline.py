# SPDX-License-Identifier: Apache-2.0
"""Parts of the communication timeline, computed from invented times in which each part is visible."""

import pytest

from characterize.measure.communication_timeline import PARTS, Bucket, divide
from characterize.measure.step_profile import KINDS, OTHER, kind_of, sum_by_kind


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
