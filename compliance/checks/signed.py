# SPDX-License-Identifier: Apache-2.0
"""P: log_digests.txt and its signature (compliance/submissions/log_digests.py)."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from compliance.checks.registry import Fault, rule
from compliance.files.errors import UserError
from compliance.log_digest import LogDigest
from compliance.submissions import log_digests
from compliance.submissions.log_digests import FILE_NAME, NAMESPACE, SIGNATURE, AllowedSigners
from compliance.submissions.reader import Organization

SHOWN = 16  # hexadecimal digits


@rule("P957")
def digests_are_the_logs(organization: Organization) -> Iterator[Fault]:
    """log_digests.txt, if there is one, gives the digest of every log of the organization and of no other.

    Why: the file says which logs were packaged, and its signature is worth nothing for other logs.
    Example: an eval_error of result_3.txt changed after packaging; a run added or removed.
    Fix: package the logs again and sign the new file, or submit the logs that were packaged. Logs may be renumbered,
    and moved to pruned_results/, within their entry.
    """
    file = organization.folder / FILE_NAME
    if not file.exists():
        return
    try:
        listed = log_digests.read(file)
    except UserError as error:
        yield Fault(file, str(error).removeprefix(f"{file}: "))
        return
    left = Counter((_place(name), digest) for name, digest in listed.items())
    logs = _logs(organization)
    for name, path in logs.items():
        digest = _digest(path)
        if left[_place(name), digest]:
            left[_place(name), digest] -= 1
        elif digest:
            yield _fault(path, digest, listed.get(name))
    for name in sorted(listed.keys() - logs.keys()):
        if left[_place(name), listed[name]]:
            yield Fault(file, f"{name!r:.200} is listed but is no log of the submission", expected="the packaged logs")


def _logs(organization: Organization) -> Mapping[str, Path]:
    """The logs by their path within the organization's folder."""
    paths = (log.path for entry in organization.entries for log in entry.logs)
    return {path.relative_to(organization.folder).as_posix(): path for path in paths}


def _place(name: str) -> str:
    """The entry of a log: within it, logs may be renumbered or moved to pruned_results."""
    return name.rpartition("/")[0].removesuffix("/pruned_results")


def _digest(path: Path) -> str:
    try:
        return LogDigest.of(path).hexdigest()
    except OSError:  # R120 reports it
        return ""


def _fault(path: Path, digest: str, listed: str | None) -> Fault:
    if listed is None:
        return Fault(path, f"is not listed in {FILE_NAME}", expected="a log that was packaged")
    found, expected = f"{digest[:SHOWN]}...", f"{listed[:SHOWN]}..., as in {FILE_NAME}"
    return Fault(path, f"the digest of its events is {found}: the log was edited", 0, expected, found)


@rule("P958")
def signature_is_an_allowed_signers(organization: Organization, signers: AllowedSigners) -> Iterator[Fault]:
    """The signature of log_digests.txt is that of a signer whom the reviewer allows (`--allowed-signers FILE`).

    Why: a signature of another key, or of another content, shows that the file was replaced.
    Example: log_digests.txt written anew after it was signed.
    Fix: sign the file again: ssh-keygen -Y sign -f KEY -n hpc-ai-bench log_digests.txt; or add the key to FILE.
    """
    if fault := signers.verification(organization.folder).fault:
        yield Fault(organization.folder / SIGNATURE, fault, expected=f"a signature of {FILE_NAME}")


@rule("P959", severity="warning")
def digests_are_signed(organization: Organization, signers: AllowedSigners) -> Iterator[Fault]:
    """Every organization signs its digests, if the reviewer gives `--allowed-signers FILE`.

    Why: digests without a signature can be computed anew by whoever edits a log.
    Example: log_digests.txt without log_digests.txt.sig.
    Fix: sign the file: ssh-keygen -Y sign -f KEY -n hpc-ai-bench log_digests.txt.
    """
    absent = signers.verification(organization.folder).absent
    if signers.file is not None and absent:
        yield Fault(organization.folder, f"no {absent}", expected=f"digests signed in the namespace {NAMESPACE}")


@rule("P960", severity="manual")
def signer_speaks_for_the_organization(organization: Organization, signers: AllowedSigners) -> Iterator[Fault]:
    """Whoever signed the digests speaks for the organization.

    Why: a signature proves which key signed, not who held it; and without verification it proves nothing.
    Example: signed by runs@acme.example; not verified, because ssh-keygen is missing.
    Fix: compare the signer with the organization's contact; give --allowed-signers FILE.
    """
    verification = signers.verification(organization.folder)
    if verification.signer:
        yield Fault(organization.folder / SIGNATURE, f"signed by {verification.signer}")
    elif verification.skipped:
        yield Fault(organization.folder / SIGNATURE, f"the signature was not verified: {verification.skipped}")
