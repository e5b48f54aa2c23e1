# SPDX-License-Identifier: Apache-2.0
"""A real Slurm of two nodes on this machine, started for a test and stopped after it.

    with Slurm(folder, SlurmdTimeout=5) as slurm:
        job = slurm.sbatch("run.slurm", DATA="data")
        slurm.wait(job)

Both nodes, n1 and n2, are slurmd's on the loopback address; all daemons are children of the test and end with it.
"""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
SECONDS_TO_START = 30
CONFIG = """
ClusterName=ci
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
TmpFS={folder}/tmp/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=1
ReturnToService=2
MpiDefault=none
KillWait=2
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_1} CPUs=4 RealMemory=4000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={port_2} CPUs=4 RealMemory=4000
PartitionName=debug Nodes=ALL Default=YES State=UP OverTimeLimit=0
"""


def missing() -> str:
    """Why no Slurm can be started here, or ''."""
    absent = [name for name in DAEMONS if shutil.which(name, path=_path()) is None]
    if absent:
        return f"Slurm is not installed: found no {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmctld and slurmd of a test are started by root"


class Slurm:
    """The cluster, as a context manager; `settings`: further ones of slurm.conf."""

    def __init__(self, folder: Path, **settings: int) -> None:
        self.folder = folder
        self._settings = settings
        self._daemons: dict[str, subprocess.Popen] = {}
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        self.environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": _path()}

    def __enter__(self) -> "Slurm":
        self._configure()
        try:
            self._start("munged", "-F", "--force", *self._munge_options())
            until(lambda: (self.folder / "munge.sock").exists(), "munged opens its socket")
            self._start("slurmctld", "-D", "-c")
            for node in ("n1", "n2"):
                self.boot(node)
            until(lambda: self.call("sinfo", "-h", "-t", "idle", "-o", "%D", check=False) == "2", "two nodes are idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self._daemons:
            self.call("scancel", "--user=root", check=False)
            self.call("scancel", "--signal=KILL", "--user=root", check=False)
        for process in reversed(self._daemons.values()):
            process.terminate()
        for process in self._daemons.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self._processes():  # step daemons outlive the slurmd that started them
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def boot(self, node: str) -> None:
        """Start the node's slurmd."""
        self._start("slurmd", "-D", "-N", node)

    def vanish(self, node: str) -> None:
        """The node is gone at once, with all that runs on it: its slurmd, its step daemons, their tasks."""
        self._daemons[node].kill()
        self._daemons[node].wait()
        tasks = list(self.tasks(node))
        parents = {process.parent() for process in tasks}
        step_daemons = [parent for parent in parents if parent and parent.name() == "slurmstepd"]
        for process in [*step_daemons, *tasks]:  # these first: they would report how their tasks ended
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def tasks(self, node: str | None = None) -> Iterator[psutil.Process]:
        """Processes that jobs have started, on one node or on all."""
        for process, variables in self._processes().items():
            if "SLURM_JOB_ID" in variables and node in (None, variables.get("SLURMD_NODENAME")):
                yield process

    def call(self, *command: str, check: bool = True, **variables: str) -> str:
        """A client command's output; never waits for more than 30 s, since srun would queue for ever."""
        line = ["timeout", "30", *command]
        done = subprocess.run(line, env={**self.environment, **variables}, capture_output=True, text=True)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout.strip()

    def sbatch(self, *arguments: str, **variables: str) -> str:
        """Submit; the job's number."""
        return self.call("sbatch", "--parsable", *arguments, **variables)

    def wait(self, job: str, seconds: float = 120) -> str:
        """Until the job has ended; its last state, such as COMPLETED."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        until(lambda: self.state(job) in over, f"job {job} ends", seconds)
        return self.state(job)

    def start_again(self, job: str) -> None:
        """A job that was queued again, without the two minutes that Slurm makes it wait."""
        time.sleep(2)  # a node refuses a job that it ended within the same second
        self.call("scontrol", "update", f"JobId={job}", "StartTime=now")

    def state(self, job: str) -> str:
        return self.call("squeue", "-h", "-j", job, "-t", "all", "-o", "%T")

    def _processes(self) -> dict[psutil.Process, dict[str, str]]:
        """All processes of the cluster, its daemons included, and their environments."""
        found = {}
        for process in psutil.process_iter():
            with suppress(OSError):
                variables = environment_of(process)
                if variables.get("SLURM_CONF") == self.environment["SLURM_CONF"]:
                    found[process] = variables
        return found

    def _configure(self) -> None:
        for name in ("state", "log", "spool/n1", "spool/n2", "tmp/n1", "tmp/n2"):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        port, port_1, port_2 = _free_ports(3)
        host = socket.gethostname().split(".")[0]
        text = CONFIG.format(folder=self.folder, host=host, port=port, port_1=port_1, port_2=port_2)
        text += "".join(f"{name}={value}\n" for name, value in self._settings.items())
        (self.folder / "slurm.conf").write_text(text)

    def _munge_options(self) -> list[str]:
        files = {"key-file": "munge.key", "socket": "munge.sock", "pid-file": "munge.pid"}
        files |= {"log-file": "log/munge.log", "seed-file": "munge.seed"}
        return [f"--{option}={self.folder / name}" for option, name in files.items()]

    def _start(self, program: str, *arguments: str) -> None:
        printed = (self.folder / "log" / f"{program}.printed").open("ab")
        with printed:
            process = subprocess.Popen([program, *arguments], env=self.environment, stdout=printed, stderr=printed)
        self._daemons[arguments[-1] if program == "slurmd" else program] = process


def environment_of(process: psutil.Process) -> dict[str, str]:
    """Its variables; psutil's own reading ends at the gap that slurmstepd leaves where it writes its title."""
    text = Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
    return dict(variable.split("=", 1) for variable in text.split("\0") if "=" in variable)


def until(condition: Callable[[], bool], what: str, seconds: float = SECONDS_TO_START) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s until {what}")
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _path() -> str:
    return f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
