# SPDX-License-Identifier: Apache-2.0
"""The report page as text: what it says, that it needs nothing from elsewhere, and that no log can add to it."""

import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import pytest

from compliance.files import atomic_write
from compliance.reports.page import render, write
from compliance.reports.pages.curves import spread
from compliance.reports.pages.links import Links
from compliance.review import review
from compliance.rulesets import ruleset

NO_RANK = "\N{EN DASH}"
VOID = frozenset({"meta", "br", "wbr", "input", "img", "link", "hr"})
PAGES = files("compliance.reports").joinpath("pages")


class Page(HTMLParser):
    """Elements with their attributes, the text inside each kind, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.handle_data(" ")

    def handle_data(self, data):
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def attributes(self, tag: str, name: str) -> list[str]:
        return [attributes[name] for element, attributes in self.elements if element == tag and name in attributes]

    def rows(self) -> list[str]:
        return [" ".join(text.split()) for text in self.texts["tr"]]


def report_of(path: Path, rules: str = "mlperf_hpc_2.0", **options) -> Page:
    text = render(review(path, rules, **options), path.parent)
    return Page(text.encode("utf-8", "backslashreplace").decode("utf-8"))


@pytest.fixture(scope="module")
def round_page(pristine_round):
    return report_of(pristine_round)


def test_every_element_is_closed_and_every_anchor_unique(round_page):
    assert round_page.open == []
    anchors = [attributes["id"] for _, attributes in round_page.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors)) > 10
    inside = [href[1:] for href in round_page.attributes("a", "href") if href.startswith("#")]
    assert set(inside) <= set(anchors)


def test_nothing_is_loaded_from_anywhere(round_page):
    loading = [
        name for _, attributes in round_page.elements for name in attributes if name in ("src", "srcset", "data")
    ]
    assert loading == []
    assert not any(re.search(r"url\(|@import", style) for style in round_page.texts["style"])
    assert not any(href.startswith(("http", "//")) for href in round_page.attributes("a", "href"))


def test_rankings_hold_the_scores(round_page, pristine_round):
    outcome = review(pristine_round, "mlperf_hpc_2.0")
    captions = [text for text in round_page.texts["caption"] if "division" in text]
    assert captions == [
        "Time to train, closed division",
        "Throughput, closed division",
        "Time to train, closed division",
    ]
    for score, _ in outcome.scored:
        assert any(score.system in row and f"{score.minutes:.2f}" in row for row in round_page.rows())


def test_runs_say_what_became_of_them(round_page):
    rows = [row for row in round_page.rows() if row.startswith("result_")]
    # Two entries drop their fastest and slowest; the throughput entry has 10 kept and a pruned one.
    assert len(rows) == 10 + 11 + 5
    counts = {
        fate: sum(f" {fate} " in row for row in rows) for fate in ("dropped: fastest", "dropped: slowest", "pruned")
    }
    assert counts == {"dropped: fastest": 2, "dropped: slowest": 2, "pruned": 1}
    first = next(row for row in rows if row.startswith("result_0.txt"))
    assert "success" in first
    assert "staging 0.67 min" in first  # 40 s


def test_a_missed_target_is_shown(acme_cosmoflow, valid_round, edit_log):
    edit_log(acme_cosmoflow / "result_3.txt", lambda run: [run.set("eval_error", 0.3, nth) for nth in range(24)])
    page = report_of(valid_round)
    (row,) = [row for row in page.rows() if "missed the target" in row]
    assert row.startswith("result_3.txt missed the target; dropped: slowest")


def test_findings_link_to_file_and_line(acme_cosmoflow, valid_round, edit_log):
    edit_log(acme_cosmoflow / "result_3.txt", lambda run: run.set("eval_samples", 7))
    page = report_of(valid_round)
    text = "acme/results/box/strong/cosmoflow/result_3.txt"
    row = next(row for row in page.rows() if "acme/box/strong/cosmoflow eval_samples is 7" in row)
    line = int(row.rpartition("result_3.txt:")[2])
    assert "eval_samples" in (valid_round / text).read_text().splitlines()[line - 1]
    targets = {valid_round.parent / unquote(href) for href in page.attributes("a", "href") if not href.startswith("#")}
    assert valid_round / text in targets
    assert all(target.exists() for target in targets)


def test_a_waived_finding_names_who_waived_it(acme_cosmoflow, valid_round):
    (acme_cosmoflow / "result_9.txt").unlink()
    waiver = 'rule = "R101"\npath = "acme/results/box"\nreason = "disk failure"\napprover = "R. Viewer"\n'
    accepted = valid_round.with_name("accepted.toml")
    accepted.write_text(f"[[waiver]]\n{waiver}")
    page = report_of(valid_round, waived_by=accepted)
    assert any(heading.startswith("R101 waived") for heading in page.texts["h3"])
    assert any("R. Viewer: disk failure" in row for row in page.rows())
    assert sentence(page).startswith("Accepted: no errors in 3 entries")


def sentence(page: Page) -> str:
    """The verdict at the top of the page."""
    return " ".join(page.texts["p"][1].split())


def test_the_page_opens_with_the_verdict(acme_cosmoflow, valid_round, round_page):
    assert sentence(round_page) == "Accepted: no errors in 3 entries."
    (acme_cosmoflow / "result_9.txt").unlink()
    page = report_of(valid_round)
    assert sentence(page) == "2 of 3 entries are accepted, 1 is refused."
    named = " ".join(page.texts["p"][2].split())
    assert named.startswith("Refused: acme · box · cosmoflow")
    assert "(1" in named
    assert sentence(report_of(acme_cosmoflow)) == "Refused: 1 error."


def test_a_refused_entry_has_no_rank_and_no_best_mark(valid_round, edit_log):
    """Its number stays readable, behind the accepted ones."""
    for log in (valid_round / "beta/results/rack/strong/deepcam").iterdir():
        edit_log(log, lambda run: run.set("eval_samples", 7))
    page = report_of(valid_round)
    (row,) = [row for row in page.rows() if "rack" in row and " errors " in row and row.startswith(NO_RANK)]
    assert " 1.0000 " in row


def test_hardware_and_software_are_columns(valid_round):
    file = valid_round / "beta/systems/rack.json"
    told = {"accelerator_model_name": "A100", "host_processor_model_name": "EPYC 7742", "framework": "PyTorch 2"}
    file.write_text(json.dumps(json.loads(file.read_text()) | told))
    (row,) = [row for row in report_of(valid_round).rows() if row.startswith("1 rack")]
    assert "A100 EPYC 7742 PyTorch 2 64 512" in row


def test_a_round_has_a_matrix_of_systems_and_benchmarks(round_page):
    rows = [row for row in round_page.rows() if row.startswith(("box acme", "cluster acme", "rack beta"))]
    assert len(rows) == 3
    assert "time to train throughput time to train" in " ".join(round_page.rows())


def test_equal_findings_share_a_row(acme_cosmoflow, valid_round, edit_log):
    for number in range(8):
        edit_log(acme_cosmoflow / f"result_{number}.txt", lambda run: run.set("eval_samples", 7))
    page = report_of(valid_round)
    (row,) = [row for row in page.rows() if "acme/box/strong/cosmoflow eval_samples is 7" in row]
    assert "and 7 more" in row


def test_many_entries_are_folded_and_one_is_open(pristine_round, acme_cosmoflow, round_page, published_results):
    assert folded(report_of(acme_cosmoflow)) == [False]
    outcome = review(published_results / "hpc_results_v0.7")
    page = Page(render(outcome, published_results))
    assert folded(page) == [True] * len(outcome.entries)


def folded(page: Page) -> list[bool]:
    return [
        "open" not in attributes
        for element, attributes in page.elements
        if element == "details" and attributes.get("class") == "entry"
    ]


def test_curves_end_at_run_stop_and_begin_at_run_start(acme_cosmoflow, valid_round, edit_log):
    """An evaluation before run_start once ended the report in a math domain error."""

    def change(run):
        run.copy("eval_error", -1)
        run.lines.append({**run.event("eval_error", -1), "time_ms": run.event("run_stop")["time_ms"] + 10**9})
        run.event("eval_error", 0)["time_ms"] = run.event("run_start")["time_ms"] - 10**9

    for number in range(10):
        edit_log(acme_cosmoflow / f"result_{number}.txt", change)
    page = report_of(valid_round)
    data = next(json.loads(text) for text in page.texts["script"] if text.startswith("{"))
    minutes = [minute for run in data["runs"] for minute in run["minutes"]]
    assert 0 <= min(minutes) <= max(minutes) < 60


def test_only_evaluations_before_run_start_leave_no_chart(tmp_path):
    log = tmp_path / "result_0.txt"
    events = [("submission_benchmark", "cosmoflow", 5), ("eval_error", 0.5, 10), ("run_start", None, 1000)]
    lines = [{"key": key, "value": value, "time_ms": time, "metadata": {"epoch_num": 1}} for key, value, time in events]
    log.write_text("".join(f":::MLLOG {json.dumps(line)}\n" for line in lines))
    assert "result_0.txt" in " ".join(report_of(log).rows())


def test_curves_are_given_as_numbers_too(round_page):
    data = [json.loads(text) for text in round_page.texts["script"] if text.startswith("{")]
    assert [len(one["runs"]) for one in data] == [10, 11, 5]
    assert data[0]["target"] == 0.124
    assert data[0]["runs"][0]["epochs"] == list(range(1, 25))
    assert data[0]["runs"][0]["quality"][-1] == pytest.approx(0.1239)


def test_epochs_stand_beside_the_reference(round_page):
    titles = round_page.texts["title"]
    assert "acme · box: 24 epochs at batch size 512" in titles
    assert "reference" in titles


def test_a_synthetic_result_is_marked_everywhere(pristine_round):
    page = report_of(pristine_round / "acme", "mlperf_hpc_demo")
    for tag in ("title", "h1", "h2", "h3"):
        assert "synthetic" in page.texts[tag][0], tag
    assert all("synthetic" in text for text in page.texts["caption"] if "division" in text)


def test_a_real_result_is_not_marked_synthetic(round_page):
    assert not any(
        "synthetic" in text.lower() for tag in ("title", "h1", "h2", "h3", "p") for text in round_page.texts[tag]
    )


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"


def test_what_logs_and_folders_say_is_text(acme_cosmoflow, valid_round, edit_log):
    edit_log(acme_cosmoflow / "result_0.txt", lambda run: run.set("opt_name", HOSTILE))
    edit_log(acme_cosmoflow / "result_1.txt", lambda run: run.event("run_stop")["metadata"].update(status=HOSTILE))
    edit_log(acme_cosmoflow / "result_2.txt", lambda run: run.set("seed", HOSTILE))
    description = valid_round / "acme" / "systems" / "box.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {HOSTILE: HOSTILE, "framework": HOSTILE}))
    name = "<script>alert(3)<img src=x onerror=alert(4)>"
    (valid_round / "acme").rename(valid_round / name)
    box = valid_round / name / "results" / "box"
    box.rename(box.with_name("'\"><b onclick=alert(5)>"))
    page = report_of(valid_round)
    assert page.open == []
    assert not page.attributes("img", "src")
    assert not any(attribute.startswith("on") for _, attributes in page.elements for attribute in attributes)
    own = [text for text in page.texts["script"] if not text.startswith("{")]
    assert len(own) == 2
    assert any(name in text for text in page.texts["h3"])
    assert any("{{7*7}}" in text for text in page.texts["td"])


def test_bytes_that_are_no_text_are_shown_escaped(valid_round):
    (valid_round / "acme").rename(valid_round / "ac\udcffme")
    assert any("ac\\udcffme" in text for text in report_of(valid_round).texts["h3"])


def test_no_file_name_is_a_script_address(tmp_path):
    links = Links(page_folder=tmp_path, root=tmp_path)
    assert links.href(tmp_path / "javascript:alert(1)") == "javascript%3Aalert%281%29"
    assert links.href(tmp_path / 'a b"<.txt') == "a%20b%22%3C.txt"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b':::MLLOG {"key": "run_start", "time_ms": 1}\n'])
def test_a_single_odd_log_has_a_page(tmp_path, content):
    log = tmp_path / "result_0.txt"
    log.write_bytes(content)
    assert "result_0.txt" in " ".join(report_of(log).rows())


def test_an_unknown_benchmark_is_shown_and_not_ranked(valid_round):
    folder = valid_round / "beta" / "results" / "rack" / "strong"
    (folder / "deepcam").rename(folder / "sleepcam")
    page = report_of(valid_round)
    assert any("mlperf_hpc_2.0.toml knows no such benchmark" in text for text in page.texts["p"])
    assert not any("rack" in text for text in page.texts["caption"])


def test_a_failure_leaves_the_old_page(pristine_round, tmp_path):
    outcome = review(pristine_round, "mlperf_hpc_2.0")
    page = tmp_path / "report.html"
    page.write_text("old")
    with pytest.raises(AttributeError), atomic_write.open_file(page) as file:
        write(replace(outcome, entries=(None,)), file, tmp_path)
    assert [file.read_text() for file in tmp_path.glob("*.html")] == ["old"]


def test_a_whole_round_stays_light(published_results, tmp_path):
    outcome = review(published_results / "hpc_results_v2.0", "mlperf_hpc_2.0")
    text = render(outcome, tmp_path)
    assert len(text) < 5e6
    page = Page(text)
    for entry in outcome.submission.entries:
        assert any(entry.system in text for text in page.texts["h3"])


def test_of_many_runs_some_are_drawn_at_even_distances():
    assert spread(range(1000), 4) == [0, 333, 666, 999]
    assert spread(range(3), 4) == [0, 1, 2]


def colours(sheet: str) -> dict[str, tuple[float, ...]]:
    found = re.findall(r"--(\w+): #([0-9a-f]{6})", sheet)
    return {name: tuple(int(value[i : i + 2], 16) / 255 for i in (0, 2, 4)) for name, value in found}


def luminance(colour: tuple[float, ...]) -> float:
    """WCAG 2.2, "relative luminance"."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_meet_wcag_aa(scheme):
    light, dark = PAGES.joinpath("report.css").read_text().split("@media screen and (prefers-color-scheme: dark)")
    found = colours(light if scheme == "light" else dark)
    for name in ("text", "quiet", "link", "bad", "warn", "hand", "good"):
        assert contrast(found[name], found["page"]) >= 4.5, name
        assert contrast(found[name], found["panel"]) >= 4.5, name
    for name in ("kept", "fastest", "slowest", "unconverged", "pruned", "staging", "training", "evaluation", "other"):
        assert contrast(found[name], found["page"]) >= 3, name


def test_the_plotting_library_is_the_published_one():
    lines = PAGES.joinpath("uplot.md").read_text().splitlines()
    sums = dict(reversed(line.split()) for line in lines if re.match(r"    [0-9a-f]{64}  ", line))
    assert len(sums) == 2
    for name, digest in sums.items():
        assert hashlib.sha256(PAGES.joinpath(name).read_bytes()).hexdigest() == digest


def test_rules_are_named_with_their_parents(round_page):
    (footer,) = round_page.texts["footer"]
    assert "mlperf_hpc_2.0.toml" in footer
    assert "base.toml" in footer
    assert ruleset.load("mlperf_hpc_2.0").values["title"] in round_page.texts["h1"][0]
