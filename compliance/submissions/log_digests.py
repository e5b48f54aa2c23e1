# SPDX-License-Identifier: Apache-2.0
"""log_digests.txt: the digest of every log of an organization, in a file that the submitter can sign.

    # SHA-256 of the events of each log, as compliance/log_digest.py computes it.
    9f2c...  results/n64/strong/deepcam/result_0.txt

`python -m compliance package` writes it in the organization's folder; `check` compares it with the logs. The digest of
a log is LogDigest.of(log): it covers all events, `log_digest` events included, whether the log has such events or not.

Signing and verifying (SIGNATURE stands beside the file, NAMESPACE keeps signatures for other purposes apart):

    ssh-keygen -Y sign -f ~/.ssh/id_ed25519 -n hpc-ai-bench acme/log_digests.txt
    python -m compliance check acme --allowed-signers allowed_signers
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from compliance.files import regular_file
from compliance.files.errors import UserError
from compliance.files.regular_file import is_regular
from compliance.log_digest import LogDigest

if TYPE_CHECKING:
    from subprocess import CompletedProcess

FILE_NAME = "log_digests.txt"
SIGNATURE = f"{FILE_NAME}.sig"
NAMESPACE = "hpc-ai-bench"
HEAD = "# SHA-256 of the events of each log, as compliance/log_digest.py computes it.\n"
LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
MAX_BYTES = 4 << 20
MAX_SIGNATURE_BYTES = 64 << 10
TIMEOUT_S = 30


def text_of(organization: Path, logs: Iterable[Path]) -> str:
    """The content of log_digests.txt for the logs of an organization's folder. Raises OSError."""
    digests = {log.relative_to(organization).as_posix(): LogDigest.of(log).hexdigest() for log in logs}
    return HEAD + "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def read(path: Path) -> Mapping[str, str]:
    """Digest by path within the organization's folder. UserError names the first line that is no digest."""
    content = regular_file.read(path, MAX_BYTES, follow=False).decode("utf-8", "replace")
    digests: dict[str, str] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        match = LINE.fullmatch(line)
        if match is None and line.strip() and not line.startswith("#"):
            raise UserError(f"{path}: line {number} is {line!r:.60}, expected a SHA-256, two spaces and a path")
        if match is not None:
            digest, name = match.groups()
            if digests.setdefault(name, digest) != digest:
                raise UserError(f"{path}: line {number} gives a second digest of {name!r:.100}, expected one")
    return digests


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The result of looking at an organization's signature; one of the texts is not empty."""

    signer: str = ""
    """The principal of the allowed-signers file, with the fingerprint of the key."""
    fault: str = ""
    """Reason why the signature does not hold."""
    absent: str = ""
    """The file that is missing."""
    skipped: str = ""
    """Reason why the signature was not verified."""


@dataclass(frozen=True, kw_only=True)
class AllowedSigners:
    """The reviewer's file of keys, in the format of ssh-keygen(1), ALLOWED SIGNERS."""

    file: Path | None = None
    """None if the reviewer gave none."""
    known: dict[Path, Verification] = field(default_factory=dict)
    """Verdicts that were verified already."""

    def verification(self, organization: Path) -> Verification:
        """Verify an organization's signature, the first time that it is asked for."""
        if organization not in self.known:
            self.known[organization] = self._verify(organization)
        return self.known[organization]

    def _verify(self, organization: Path) -> Verification:
        for name in (FILE_NAME, SIGNATURE):
            if not is_regular(organization / name):
                return Verification(absent=name)
        if self.file is None:
            return Verification(skipped="no file of allowed signers was given (--allowed-signers FILE)")
        from shutil import which  # few submissions are signed

        if which("ssh-keygen") is None:
            return Verification(skipped="ssh-keygen is missing; install OpenSSH 8.2 or later")
        try:
            content = regular_file.read(organization / FILE_NAME, MAX_BYTES, follow=False)
            regular_file.read(organization / SIGNATURE, MAX_SIGNATURE_BYTES, follow=False)
            return _verified(self.file, (organization / SIGNATURE).absolute(), content)
        except (UserError, OSError) as error:
            return Verification(fault=f"cannot be verified: {error}")


def _verified(allowed: Path, signature: Path, content: bytes) -> Verification:
    """Ask ssh-keygen who signed, and whether the signature is one of the content."""
    found = _ssh_keygen("find-principals", "-s", str(signature), "-f", str(allowed))
    names = found.stdout.decode("utf-8", "replace").splitlines()
    if found.returncode or not names:
        return Verification(fault="the key is none of the allowed signers, or the file is not a signature")
    for name in names:
        words = ("verify", "-f", str(allowed), "-I", name, "-n", NAMESPACE, "-s", str(signature))
        checked = _ssh_keygen(*words, content=content)
        if checked.returncode == 0:
            key = checked.stdout.decode("utf-8", "replace").strip().rpartition(" with ")[2]
            return Verification(signer=f"{name} ({key})")
    return Verification(fault=f"{names[0]} has not signed this content in the namespace {NAMESPACE}")


def _ssh_keygen(*words: str, content: bytes = b"") -> CompletedProcess:
    import subprocess  # few submissions are signed

    try:
        return subprocess.run(["ssh-keygen", "-Y", *words], input=content, capture_output=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise UserError(f"ssh-keygen took more than {TIMEOUT_S} s") from None
