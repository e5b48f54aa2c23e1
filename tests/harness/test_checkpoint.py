# SPDX-License-Identifier: Apache-2.0
"""Resume: a killed run continues with the same losses and a legal log, or one line tells why it cannot."""

import signal
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

import compliance.__main__
from compliance import mllog
from compliance.log_digest import broken_links
from harness import checkpoint
from harness.checkpoint import CheckpointError
from harness.data.manifest import sha256
from harness.run import Run, RunError
from harness.signals import Terminated

NUM_EPOCHS = 4


def train(config, output: Path, *, seed: int = 3, stop_after: tuple[int, int] = (0, 0), **options) -> Run:
    """Train a network with dropout; an error in the step after `stop_after` (epoch, step) stands for a kill."""
    with Run(config, output, seed=seed, **options) as run:
        run.log("train_samples", 256)
        run.log("eval_samples", 256)
        torch.manual_seed(run.seed)
        network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        checkpoints = run.checkpoints(every_epochs=1, network=network, optimizer=optimizer)
        run.start()
        for epoch in run.epochs(NUM_EPOCHS, checkpoints):
            for step in range(3):
                loss = network(torch.rand(2, 4)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if (epoch, step) == stop_after:
                    raise InterruptedError
            with run.evaluation(epoch) as result:
                result.value = 1 + loss.item()
    return run


def losses(log: Path) -> dict[int, float]:
    return {event.metadata.epoch_num: event.value for event in mllog.read(log).all("eval_error")}


def keys(log: Path) -> list[str]:
    return [event.key for event in mllog.read(log).events]


@pytest.fixture
def killed(make_config, tmp_path) -> Path:
    """The log of a run that ended in its third epoch."""
    log = tmp_path / "result_0.txt"
    with pytest.raises(InterruptedError):
        train(make_config(), log, stop_after=(3, 1))
    return log


def test_a_resumed_run_has_the_losses_of_one_that_never_stopped(make_config, killed, tmp_path):
    train(make_config(), tmp_path / "whole.txt")
    train(make_config(), killed, resume=True)
    assert losses(killed) == losses(tmp_path / "whole.txt")
    assert len(losses(killed)) == NUM_EPOCHS


def test_its_log_is_the_same_but_for_the_restart(make_config, killed, tmp_path):
    train(make_config(), tmp_path / "whole.txt")
    train(make_config(), killed, resume=True)
    expected = keys(tmp_path / "whole.txt")
    third_epoch = [number for number, key in enumerate(expected) if key == "epoch_start"][2]
    assert keys(killed) == [*expected[:third_epoch], "restart", *expected[third_epoch:]]
    restart = mllog.read(killed).first("restart")
    assert restart.metadata.epoch_num == 2
    assert '"num_discarded_events": 5' in killed.read_text()  # epoch_start, epoch_stop, run_stop and two digests


def test_check_names_the_restart_and_no_other_fault_of_the_log(make_config, killed, tmp_path, capsys):
    train(make_config(), killed, resume=True)
    train(make_config(), tmp_path / "whole.txt")
    found = []
    for log in (killed, tmp_path / "whole.txt"):
        code = compliance.__main__.main(["check", str(log), "--rules", "mlperf_hpc_demo", "--format", "csv"])
        assert code == 1  # neither met the target
        found.append({line.split(",")[0] for line in capsys.readouterr().out.splitlines() if ",error," in line})
    assert found[0] - found[1] == {"T113"}
    assert found[1] <= found[0]


def test_resuming_what_has_not_begun_begins_it(make_config, tmp_path):
    train(make_config(), tmp_path / "result_0.txt", resume=True)
    assert "restart" not in keys(tmp_path / "result_0.txt")
    assert len(losses(tmp_path / "result_0.txt")) == NUM_EPOCHS


def test_a_run_killed_in_its_first_epoch_is_resumed_too(make_config, tmp_path):
    log = tmp_path / "result_0.txt"
    with pytest.raises(InterruptedError):
        train(make_config(), log, stop_after=(1, 0))
    train(make_config(), log, resume=True)
    train(make_config(), tmp_path / "whole.txt")
    assert losses(log) == losses(tmp_path / "whole.txt")


def test_two_checkpoints_are_kept_and_no_temporary_file(killed):
    names = sorted(path.name for path in checkpoint.folder_of(killed).iterdir())
    assert [name[:13] for name in names] == ["epoch_000001_", "epoch_000002_"]
    assert all(name.endswith(".pt") for name in names)


@pytest.mark.parametrize("damage", ["cut off", "one byte changed", "empty"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(make_config, killed, tmp_path, damage, capsys):
    newest = max(checkpoint.folder_of(killed).iterdir())
    content = bytearray(newest.read_bytes())
    position = content.find(bytes_of_a_weight(newest))
    content[position] ^= 1
    newest.write_bytes({"cut off": content[:-100], "one byte changed": content, "empty": b""}[damage])
    train(make_config(), killed, resume=True)
    train(make_config(), tmp_path / "whole.txt")
    assert f"{newest}: damaged; trying the checkpoint before it" in capsys.readouterr().err
    assert mllog.read(killed).first("restart").metadata.epoch_num == 1
    assert not newest.exists()
    assert losses(killed) == losses(tmp_path / "whole.txt")


@pytest.mark.parametrize("content", ["not a checkpoint", "other keys", "a list", "a function", "a folder", "no seed"])
def test_foreign_content_under_a_right_hash_gives_way_to_the_checkpoint_before(make_config, killed, content, capsys):
    newest = max(checkpoint.folder_of(killed).iterdir())
    whole = torch.load(newest, weights_only=True)
    newest.unlink()
    folder = checkpoint.folder_of(killed)
    if content == "a folder":
        newest.mkdir()
    elif content == "not a checkpoint":
        _write_named(folder, lambda path: path.write_bytes(b"x" * 1000))
    else:
        foreign = {
            "other keys": {"weights": torch.zeros(2)},
            "a list": [1, 2],
            "a function": {"x": print},
            "no seed": whole | {"identity": {}},
        }
        _write_named(folder, lambda path: torch.save(foreign[content], path))
    train(make_config(), killed, resume=True)
    printed = capsys.readouterr().err
    assert "damaged; trying the checkpoint before it" in printed
    assert printed.count("\n") == 1
    assert mllog.read(killed).first("restart").metadata.epoch_num == 1
    assert len(losses(killed)) == NUM_EPOCHS


def _write_named(folder: Path, write) -> None:
    """Write a file under the name that a checkpoint of the second epoch with this content has."""
    write(folder / "new")
    (folder / "new").rename(folder / f"epoch_000002_{sha256(folder / 'new')[:16]}.pt")


def test_a_checkpoint_of_other_code_is_one_line(make_config, killed, monkeypatch):
    monkeypatch.setattr(nn, "Dropout", lambda rate: nn.BatchNorm1d(8))
    with pytest.raises(CheckpointError, match=r"network: the checkpoint does not fit this code: .*; resume with"):
        train(make_config(), killed, resume=True)


@pytest.mark.parametrize("edit", [lambda text: text.replace("0.", "1.", 1), lambda text: "\n" + text])
def test_an_edited_log_is_not_continued(make_config, killed, edit):
    killed.write_text(edit(killed.read_text()))
    with pytest.raises(CheckpointError, match="an edited log is not continued: restore it, or move it away"):
        train(make_config(), killed, resume=True)


def test_another_data_set_is_not_continued_on(make_config, tmp_path):
    log, data = tmp_path / "result_0.txt", tmp_path / "data"
    data.mkdir()
    (data / "manifest.json").write_text("{}")
    with pytest.raises(InterruptedError):
        train(make_config(), log, stop_after=(2, 0), data=data)
    (data / "manifest.json").write_text("{} ")
    with pytest.raises(CheckpointError, match="data_manifest_sha256: the run began with"):
        train(make_config(), log, resume=True, data=data)


def test_a_resumed_log_continues_its_chain_of_digests(make_config, killed):
    train(make_config(), killed, resume=True)
    assert list(broken_links(killed)) == []
    assert [event.key for event in mllog.read(killed).events].count("log_digest") == NUM_EPOCHS + 1


def test_a_run_killed_before_its_first_checkpoint_starts_anew_and_says_so(make_config, tmp_path, capsys):
    log = tmp_path / "result_0.txt"
    with suppress(InterruptedError), Run(make_config(), log, seed=5):
        raise InterruptedError
    former = log.read_text()
    train(make_config(), log, resume=True)
    kept = tmp_path / "result_0.txt.abandoned_1"
    assert capsys.readouterr().err == (
        f"{log}: ended before its first checkpoint; starting anew, the former log is {kept}\n"
    )
    assert kept.read_text() == former
    assert len(losses(log)) == NUM_EPOCHS
    assert "restart" not in keys(log)


def test_a_signal_while_a_checkpoint_is_written_waits_until_it_is_whole(make_config, tmp_path, monkeypatch):
    log, saved = tmp_path / "result_0.txt", torch.save

    def save(state, file):
        if state["num_epochs_done"] == 2:
            signal.raise_signal(signal.SIGTERM)
        saved(state, file)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(Terminated):
        train(make_config(), log)
    assert '"reason": "Terminated"' in log.read_text()
    assert max(path.name for path in checkpoint.folder_of(log).iterdir()).startswith("epoch_000002_")


def bytes_of_a_weight(path: Path) -> bytes:
    """Bytes of a weight as stored in the file."""
    return torch.load(path, weights_only=True)["parts"]["network"]["0.weight"].numpy().tobytes()[:16]


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(make_config, tmp_path, monkeypatch):
    log = tmp_path / "result_0.txt"
    saved = torch.save

    def full_disk(state, file):
        if state["num_epochs_done"] == 2:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        saved(state, file)

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(CheckpointError, match=r"checkpoint not written: .*No space left"):
        train(make_config(), log)
    assert mllog.read(log).first("run_stop").metadata.status == "aborted"
    monkeypatch.undo()
    train(make_config(), log, resume=True)
    assert mllog.read(log).first("restart").metadata.epoch_num == 1


def test_a_kill_while_one_is_written_leaves_the_last_one(make_config, tmp_path, monkeypatch):
    log = tmp_path / "result_0.txt"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", kill_at("epoch_000002.tmp", Path.replace))
        with pytest.raises(KeyboardInterrupt):
            train(make_config(), log)
    names = sorted(path.name for path in checkpoint.folder_of(log).iterdir())
    assert [name[:13] for name in names] == ["epoch_000000_", "epoch_000001_", "epoch_000002."]
    train(make_config(), log, resume=True)
    train(make_config(), tmp_path / "whole.txt")
    assert mllog.read(log).first("restart").metadata.epoch_num == 1
    assert losses(log) == losses(tmp_path / "whole.txt")
    assert not list(checkpoint.folder_of(log).glob("*.tmp"))


def kill_at(name: str, replace):
    """Path.replace that raises, as a kill would, before it renames the file of this name."""

    def killed(path: Path, target: Path) -> Path:
        if path.name == name:
            raise KeyboardInterrupt
        return replace(path, target)

    return killed


def test_another_configuration_cannot_go_on(make_config, killed):
    before = killed.read_bytes()
    with pytest.raises(CheckpointError, match="seed: the run began with 3, found 4"):
        train(make_config(), killed, resume=True, seed=4)
    with pytest.raises(CheckpointError, match="division: the run began with 'closed', found 'open'"):
        train(make_config(division="open"), killed, resume=True)
    assert killed.read_bytes() == before


def test_a_log_without_checkpoints_is_not_overwritten(make_config, tmp_path):
    log = tmp_path / "result_0.txt"
    log.write_text("something\n")
    with pytest.raises(CheckpointError, match="is no event log and has no checkpoint beside it; move it away"):
        train(make_config(), log, resume=True)
    assert log.read_text() == "something\n"


def test_a_lost_log_is_not_continued(make_config, killed):
    killed.write_text("")
    with pytest.raises(CheckpointError, match="found 0 bytes, expected"):
        train(make_config(), killed, resume=True)


def test_a_run_that_succeeded_is_over_and_keeps_no_checkpoint(make_config, tmp_path):
    log = tmp_path / "result_0.txt"
    config = make_config(num_epochs=NUM_EPOCHS)
    train(config, log)
    assert mllog.read(log).first("run_stop").metadata.status == "success"
    assert [path.name for path in tmp_path.iterdir()] == ["result_0.txt"]
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(config, log, resume=True)


def test_a_resumed_run_that_succeeds_keeps_no_checkpoint(make_config, tmp_path):
    log = tmp_path / "result_0.txt"
    config = make_config(num_epochs=NUM_EPOCHS)
    with pytest.raises(InterruptedError):
        train(config, log, stop_after=(3, 1))
    assert checkpoint.folder_of(log).exists()
    train(config, log, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["result_0.txt"]


def test_a_training_loop_that_restores_nothing_is_refused(make_config, killed):
    with Run(make_config(), killed, resume=True) as run:
        run.log("train_samples", 256)
        run.log("eval_samples", 256)
        run.start()
        with pytest.raises(RunError, match="needs its checkpoints"):
            next(run.epochs(NUM_EPOCHS))
