# SPDX-License-Identifier: Apache-2.0
"""Two processes never write one output: the second ends in a line that names the first, and no lock is ever stale."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys

import pytest

from compliance.files import lock
from compliance.files.errors import UserError
from compliance.files.lock import LockError

HOLD = """
import sys, time
from pathlib import Path
from compliance.files import lock
with lock.held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `output`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "output")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_second_ends_in_a_line_that_names_the_first(holder, tmp_path):
    expected = rf"output: in use by process {holder.pid} on {socket.gethostname()}; wait .*, or choose another output"
    with pytest.raises(LockError, match=expected) as caught, lock.held(tmp_path / "output"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_holder_leaves_no_lock(holder, tmp_path, number):
    holder.send_signal(number)
    holder.wait()
    with lock.held(tmp_path / "output"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_another_output_beside_it_is_free(holder, tmp_path):
    with lock.held(tmp_path / "another"):
        assert (tmp_path / ".another.lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}"
    assert not (tmp_path / ".another.lock").exists()


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"), lock.held(tmp_path / "file" / "output"):
        pass


def test_a_file_system_without_locks_is_reported_and_used(tmp_path, monkeypatch, capsys):
    def unsupported(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with lock.held(tmp_path / "output"):
        pass
    assert "this file system has no locks" in capsys.readouterr().err
