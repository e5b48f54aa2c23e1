# SPDX-License-Identifier: Apache-2.0
"""The commands that README.md, docs/ and the benchmarks' READMEs show, and what a test does with each.

for command in commands(): command.document, command.text, command.elsewhere, command.not_run
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*.md"))]
PROGRAM = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?"
    r"(?:python3?|make|torchrun|srun|sbatch|mpiexec|hpc-\w+|docker|apptainer|cp|module|source|tar|pip|ssh-keygen|[\w/]+\.sh)\b"
)
TRAILING = re.compile(r"\s{2,}(?:#.*)?$|\s{4,}\S.*$|\s+#.*$")
"""A comment, or what a document shows beside a command."""

ELSEWHERE = {
    r"python -m perf\.kills": "tests/perf/test_kills.py::test_a_sample_of_random_kills_and_signal_pairs",
    r"make (demo|test|test-slow|lint|site)$": ".ci/run",
    r".*compliance check hpc_results_v": "tests/compliance/test_public_rounds.py::test_findings_are_those_of_the_table",
    r"FUZZ_EXAMPLES=": "tests/compliance/test_fuzz.py::test_any_change_of_a_valid_log",
    r"RAW=/downloads/\w+ DATA=.*init_datasets.sh$": "tests/test_launch_scripts.py::"
    "test_data_are_prepared_from_the_original_or_simulated",
    r"python -m cosmoflow.prepare --describe": "tests/cosmoflow/test_prepare.py::"
    "test_samples_prepared_elsewhere_are_described_with_the_index_for_dali",
    r"python -m cosmoflow.prepare /": "tests/cosmoflow/test_prepare.py::test_the_command_prepares_and_verifies",
    r"python -m deepcam.prepare": "tests/deepcam/test_prepare.py::test_conversion_keeps_every_value",
    r"python -m imagenet_resnet.prepare": "tests/imagenet_resnet/test_prepare.py::"
    "test_archives_become_shards_that_train",
    r"python -m ewa_fasterrcnn.prepare": "tests/ewa_fasterrcnn/test_prepare.py::"
    "test_years_go_to_their_split_with_statistics_and_manifest",
    r"mpiexec": "tests/harness/distributed/test_world_mpi.py::test_training_gives_what_it_gives_under_torchrun",
    r".*sbatch.* sites/": "tests/test_sites.py::test_a_site_loads_its_modules_and_then_runs_the_benchmark_s_campaign",
    r".*sbatch": "tests/slurm/test_demos.py::test_a_demo_on_two_nodes_ends_in_a_log_that_the_checker_accepts",
    r"srun .*-m cosmoflow.train": "tests/slurm/test_demos.py::"
    "test_a_demo_on_two_nodes_ends_in_a_log_that_the_checker_accepts",
    r"srun .*harness.verify": "tests/harness/verify/test_verify.py::test_one_device_passes_and_has_its_figures",
    r"srun .*harness.staging": "tests/slurm/test_documented_commands.py::test_staging_as_documented",
    r"python -m characterize fom": "tests/characterize/commands/test_fom.py::test_ratios_and_their_geometric_mean",
    r".*--waivers": "tests/compliance/checks/test_waivers.py::test_a_waived_finding_is_shown_and_is_no_error",
    r".*--allowed-signers": "tests/compliance/submissions/test_log_digests.py::"
    "test_the_command_takes_the_file_and_refuses_a_missing_one",
    r"ssh-keygen": "tests/compliance/submissions/test_log_digests.py::"
    "test_a_signature_of_an_allowed_key_names_the_signer",
    r"python -m characterize predict .*--measured": "tests/characterize/commands/test_predict.py::"
    "test_results_of_scaling_are_throughputs_without_evaluation",
}
"""Commands that another test, or the continuous integration, runs: a pattern of the command, and by what."""
NOT_RUN = {
    r"docker|apptainer": "no container registry can be reached",
    r"module load|source |make venv|make review|python -m pip install": "they set up the tests' environment",
    r"make bench": "an hour on an idle machine",
    r"python -m deepcam.train .*hyperparameters_512.toml": "a global batch of 512 samples",
}
"""Commands that no test runs, and why; their document says "not run by a test"."""
MARK = "not run by a test"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of a document."""

    document: Path
    text: str

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}: {self.text}"

    @property
    def elsewhere(self) -> str:
        """The test that runs it, or the script of the continuous integration; '' if neither."""
        return _first(ELSEWHERE, self.text)

    @property
    def not_run(self) -> str:
        """The reason why no test runs it; ''."""
        return _first(NOT_RUN, self.text)


def commands() -> Iterator[Command]:
    """Every command in an indented block."""
    for document in DOCUMENTS:
        text = re.sub(r"\\\n\s*", "", document.read_text(encoding="utf-8"))
        for line in re.findall(r"(?m)^    (\S.*)$", text):
            if PROGRAM.match(line):
                yield Command(document=document, text=TRAILING.sub("", line))


def _first(kinds: dict[str, str], text: str) -> str:
    return next((reason for pattern, reason in kinds.items() if re.match(pattern, text)), "")
