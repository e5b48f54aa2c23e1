# SPDX-License-Identifier: Apache-2.0
"""A pipeline ends with the epoch that it was built for."""

import gc
import weakref

import pytest

from harness.data import dali


class Pipeline:
    """Keeps itself alive by a reference cycle, as DALI's own pipelines do."""

    def __init__(self) -> None:
        self.itself = self
        self.num_runs = 0

    def run(self) -> tuple[int]:
        self.num_runs += 1
        return (self.num_runs,)


@pytest.mark.parametrize("num_taken", [1, 3])
def test_a_pipeline_is_gone_after_its_epoch_even_if_that_is_given_up(num_taken):
    built = []

    def build() -> Pipeline:
        pipeline = Pipeline()
        built.append(weakref.ref(pipeline))
        return pipeline

    gc.disable()
    try:
        outputs = dali.outputs(build, 3)
        assert [next(outputs) for _ in range(num_taken)] == [(1,), (2,), (3,)][:num_taken]
        outputs.close()
        assert built[0]() is None
    finally:
        gc.enable()
