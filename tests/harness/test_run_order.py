# SPDX-License-Identifier: Apache-2.0
"""Every call in an illegal order is refused by name, and all intervals of the log are closed."""

import pytest

from compliance import mllog
from harness.run import Run, RunError


def start(run: Run) -> None:
    run.log("train_samples", 1024)
    run.log("eval_samples", 256)
    run.start()


def evaluate_twice(run):
    start(run)
    for epoch in run.epochs():
        for _ in range(2):
            with run.evaluation(epoch) as result:
                result.value = 1.0


def evaluate_another_epoch(run):
    start(run)
    for epoch in run.epochs():
        with run.evaluation(epoch + 1):
            pass


def evaluate_without_value(run):
    start(run)
    for epoch in run.epochs():
        with run.evaluation(epoch):
            pass


def skip_evaluation(run):
    start(run)
    list(run.epochs(2))


def stage_in_an_epoch(run):
    start(run)
    for _ in run.epochs():
        with run.staging():
            pass


def stage_between_epochs(run):
    start(run)
    epochs = run.epochs()
    next(epochs)
    epochs.close()
    with run.staging():
        pass


def judge_an_unlogged_result(run):
    start(run)
    for epoch in run.epochs():
        with run.evaluation(epoch) as result:
            result.value = 0.1
            run.reached(result)


ILLEGAL = {
    "start twice": (lambda run: (start(run), run.start()), "expected init"),
    "start without sample counts": (lambda run: run.start(), "not logged yet: eval_samples, train_samples"),
    "epochs before start": (lambda run: list(run.epochs()), "expected run"),
    "evaluation outside an epoch": (lambda run: (start(run), run.evaluation(1).__enter__()), "expected run > epoch"),
    "progress outside an epoch": (lambda run: run.progress(1).__enter__(), "expected run > epoch"),
    "evaluation twice": (evaluate_twice, "expected once in each epoch"),
    "evaluation of another epoch": (evaluate_another_epoch, "this is epoch 1"),
    "evaluation without value": (evaluate_without_value, "result.value was not set"),
    "no evaluation": (skip_evaluation, "requires an evaluation in every epoch"),
    "staging in an epoch": (stage_in_an_epoch, "expected run"),
    "staging after an epoch": (stage_between_epochs, "an epoch has begun"),
    "reached inside the evaluation": (judge_an_unlogged_result, "result of this epoch's evaluation"),
    "interval key": (lambda run: run.log("run_stop", None), "Run logs itself"),
    "quality key": (lambda run: run.log("eval_error", 0.1), "Run logs itself"),
    "key twice": (lambda run: run.log("global_batch_size", 1), "exactly once"),
}


@pytest.mark.parametrize(("act", "message"), ILLEGAL.values(), ids=ILLEGAL)
def test_illegal_order_is_refused_and_the_log_stays_legal(make_config, tmp_path, act, message):
    output = tmp_path / "result_0.txt"
    with pytest.raises(RunError, match=message), Run(make_config(), output) as run:
        act(run)
    log = mllog.read(output)
    for interval in ("init", "epoch", "eval", "staging"):
        assert len(log.all(f"{interval}_start")) == len(log.all(f"{interval}_stop"))
    assert [event.key for event in log.events[-2:]] == ["run_stop", "log_digest"]
    assert log.last("run_stop").metadata.status == "aborted"
