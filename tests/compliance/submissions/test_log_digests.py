# SPDX-License-Identifier: Apache-2.0
"""log_digests.txt and its signature: written by package, compared and verified by check."""

import json
import shutil
import subprocess

import pytest

from compliance.__main__ import main
from compliance.files.errors import UserError
from compliance.log_digest import LogDigest
from compliance.review import review
from compliance.submissions import log_digests
from compliance.submissions.log_digests import FILE_NAME, NAMESPACE, SIGNATURE
from compliance.submissions.packaging import Options, package

RULES = {"P957", "P958", "P959", "P960"}
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is missing")


@pytest.fixture
def submission(tmp_path, run_log):
    """A packaged submission of one organization."""
    for index in range(10):
        run = run_log(seed=index + 1, num_epochs=24, start_ms=1_662_904_434_000 + index * 10**7)
        run.write(tmp_path / "runs" / f"job_{index}.log")
    package([tmp_path / "runs"], tmp_path / "submission", Options())
    return tmp_path / "submission"


@pytest.fixture
def organization(submission):
    return submission / "acme"


def some_log(organization):
    return sorted(organization.glob("results/**/result_3.txt"))[0]


def make_key(folder, name):
    folder.mkdir(exist_ok=True)
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", key], check=True)
    return key


def sign(key, file, namespace=NAMESPACE):
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", namespace, file], check=True)


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path / "keys", "runs@acme.example")


@pytest.fixture
def allowed(tmp_path, key):
    """The reviewer's file, which allows that key."""
    file = tmp_path / "allowed_signers"
    file.write_text(f"runs@acme.example {key.with_name(key.name + '.pub').read_text()}")
    return file


def found(path, allowed=None):
    """(rule, severity, message) of the rules on digests and signatures."""
    outcome = review(path, "mlperf_hpc_2.0", allowed_signers=allowed)
    return [(one.rule, one.severity, one.message) for one in outcome.findings if one.rule in RULES]


def test_package_lists_every_log_and_says_how_to_sign(submission, organization, tmp_path, capsys):
    listed = log_digests.read(organization / FILE_NAME)
    logs = sorted(organization.glob("results/**/result_*.txt"))
    assert listed == {log.relative_to(organization).as_posix(): LogDigest.of(log).hexdigest() for log in logs}
    assert len(listed) == 10
    assert found(submission) == []
    assert main(["package", str(tmp_path / "runs"), "--output", str(tmp_path / "again")]) == 0
    command = f"ssh-keygen -Y sign -f KEY -n hpc-ai-bench {tmp_path / 'again' / 'acme' / FILE_NAME}"
    assert command in capsys.readouterr().out


def test_line_ends_and_other_output_change_no_digest(submission, organization):
    path = some_log(organization)
    path.write_bytes(b"job starts\r\n" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert found(submission) == []


def test_an_edited_an_added_and_a_removed_log_are_errors(submission, organization, edit_log):
    edited = some_log(organization)
    edit_log(edited, lambda run: run.set("eval_error", 0.2, 7))
    shutil.copy(edited, edited.with_name("result_10.txt"))
    edited.with_name("result_5.txt").unlink()
    messages = [message for rule, severity, message in found(submission) if (rule, severity) == ("P957", "error")]
    assert len(messages) == 3
    assert sum("the log was edited" in message for message in messages) == 1
    assert f"is not listed in {FILE_NAME}" in messages
    assert any("result_5.txt' is listed but is no log" in message for message in messages)


def test_logs_may_be_pruned_and_renumbered_but_not_moved_to_another_system(submission, organization):
    folder = some_log(organization).parent
    (folder / "pruned_results").mkdir()
    (folder / "result_3.txt").rename(folder / "pruned_results" / "result_3.txt")
    (folder / "result_9.txt").rename(folder / "result_3.txt")
    assert found(submission) == []
    folder.parents[1].rename(folder.parents[1].with_name("larger"))
    assert sum(f"is not listed in {FILE_NAME}" in message for _, _, message in found(submission)) == 10


@pytest.mark.parametrize(
    ("line", "said"),
    [("12ab  results/a", "expected a SHA-256"), ("\x00\xff", "expected a SHA-256"), ("0" * 64, "expected a SHA-256")],
)
def test_a_damaged_file_is_an_error_that_names_the_line(submission, organization, line, said):
    file = organization / FILE_NAME
    file.write_text(file.read_text() + line + "\n", encoding="latin-1")
    ((rule, severity, message),) = found(submission)
    assert (rule, severity) == ("P957", "error")
    assert message.startswith("line 12 is")


def test_a_link_in_its_place_is_not_followed(submission, organization, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret words\n")
    (organization / FILE_NAME).unlink()
    (organization / FILE_NAME).symlink_to(secret)
    ((rule, _, message),) = found(submission)
    assert rule == "P957"
    assert "secret words" not in message


@needs_ssh_keygen
def test_a_signature_of_an_allowed_key_names_the_signer(submission, organization, key, allowed):
    sign(key, organization / FILE_NAME)
    ((rule, severity, message),) = found(submission, allowed)
    assert (rule, severity) == ("P960", "manual")
    assert message.startswith("signed by runs@acme.example (ED25519 key SHA256:")


@needs_ssh_keygen
def test_digests_written_anew_after_signing_are_an_error(submission, organization, key, allowed, edit_log):
    sign(key, organization / FILE_NAME)
    edit_log(some_log(organization), lambda run: run.set("eval_error", 0.2, 7))
    logs = organization.glob("results/**/result_*.txt")
    (organization / FILE_NAME).write_text(log_digests.text_of(organization, logs))
    assert found(submission, allowed) == [
        ("P958", "error", "runs@acme.example has not signed this content in the namespace hpc-ai-bench")
    ]


@needs_ssh_keygen
@pytest.mark.parametrize("kind", ["other key", "other namespace", "no signature at all"])
def test_other_signatures_are_errors(submission, organization, key, allowed, tmp_path, kind):
    if kind == "other key":
        sign(make_key(tmp_path / "keys", "somebody@else.example"), organization / FILE_NAME)
    elif kind == "other namespace":
        sign(key, organization / FILE_NAME, "git")
    else:
        (organization / SIGNATURE).write_text("signed, honestly\n")
    ((rule, severity, _),) = found(submission, allowed)
    assert (rule, severity) == ("P958", "error")


def test_an_unsigned_submission_is_a_warning_if_signatures_are_asked_for(submission, tmp_path, organization):
    allowed = tmp_path / "allowed_signers"
    allowed.write_text("")
    assert found(submission, allowed) == [("P959", "warning", f"no {SIGNATURE}")]
    (organization / FILE_NAME).unlink()
    assert found(submission, allowed) == [("P959", "warning", f"no {FILE_NAME}")]


@pytest.mark.parametrize(
    ("gives_keys", "said"),
    [
        (True, "the signature was not verified: ssh-keygen is missing; install OpenSSH 8.2 or later"),
        (False, "the signature was not verified: no file of allowed signers was given (--allowed-signers FILE)"),
    ],
)
def test_a_signature_that_is_not_verified_is_a_note(submission, organization, tmp_path, monkeypatch, gives_keys, said):
    (organization / SIGNATURE).write_text("-----BEGIN SSH SIGNATURE-----\n")
    allowed = tmp_path / "allowed_signers"
    allowed.write_text("")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert found(submission, allowed if gives_keys else None) == [("P960", "manual", said)]


def test_the_command_takes_the_file_and_refuses_a_missing_one(submission, tmp_path, capsys):
    missing = tmp_path / "nothing"
    assert main(["check", str(submission), "--allowed-signers", str(missing)]) == 2
    assert capsys.readouterr().err == f"error: {missing}: cannot be read: No such file or directory\n"
    missing.write_text("")
    arguments = ["check", str(submission), "--allowed-signers", str(missing), "--format", "json"]
    main(arguments)
    rules = {finding["rule"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert "P959" in rules


def test_a_second_digest_of_one_log_is_refused(tmp_path):
    file = tmp_path / FILE_NAME
    file.write_text(f"{'0' * 64}  a.txt\n{'1' * 64}  a.txt\n")
    with pytest.raises(UserError, match=r"line 2 gives a second digest of 'a\.txt', expected one"):
        log_digests.read(file)
