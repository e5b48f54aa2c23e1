# SPDX-License-Identifier: Apache-2.0
"""Write all results of a folder as one self-contained page.

    python -m characterize report --output output/characterize      # writes output/characterize/report.html

The page contains its pictures and loads nothing; text from result files is escaped.
"""

import argparse
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from characterize.commands.statements import by_topic
from characterize.pictures import style
from characterize.results.benchmark_titles import benchmark_title
from characterize.results.result import CharacterizeError, Result, load_all
from characterize.results.tables import Table
from compliance.files import atomic_write

ORDER = ("roofline", "kernels", "allreduce", "storage", "breakdown", "scaling", "predict", "fom")
HEADINGS = {
    "roofline": "Roofline",
    "kernels": "Kernels",
    "allreduce": "Collective communication",
    "storage": "Storage",
    "breakdown": "A training step",
    "scaling": "Scaling",
    "predict": "Time to train elsewhere",
    "fom": "Figures of merit",
}
IDENTIFIER = re.compile(r'(\bid="|href="#|url\(#)')


@dataclass(frozen=True, kw_only=True)
class Section:
    """One result as a section of the page."""

    heading: str
    result: Result
    settings: str
    tables: list[Table]
    pictures: list[Markup]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--title", default="What bounds this system", help="title of the page (%(default)s)")


def measure(options: argparse.Namespace) -> None:
    """Write the page; nothing is measured, so there is no result."""
    results = load_all(options.output) if options.output.is_dir() else []
    if not results:
        raise CharacterizeError(
            f"{options.output}: found no result; measure first, such as python -m characterize roofline"
        )
    path = options.output / "report.html"
    atomic_write.write(path, render(results, options.title))
    print(path)


def render(results: list[Result], title: str) -> str:
    """Return the page as HTML."""
    ordered = sorted(results, key=lambda result: (ORDER.index(result.verb), result.name))
    loader = PackageLoader("characterize", "pages")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(
        title=title,
        style=Markup(loader.get_source(environment, "report.css")[0]),
        topics=by_topic(ordered),
        sections=[_section(result) for result in ordered],
        written_at=datetime.now(UTC).isoformat(timespec="minutes"),
    )


def _section(result: Result) -> Section:
    module = import_module(f"characterize.commands.{result.verb}")
    heading = HEADINGS[result.verb]
    about = _about(result)
    return Section(
        heading=f"{heading}: {about}" if about else heading,
        result=result,
        settings=_settings_text(result.settings),
        tables=list(module.tables(result)),
        pictures=[_inlined(figure, name) for name, figure in module.figures(result).items()],
    )


def _about(result: Result) -> str:
    """The subject of a result that its file name states: a benchmark and, for predictions, a device."""
    about = result.name.removeprefix(result.verb).strip("_")
    benchmark = result.settings.get("benchmark", "")
    if benchmark and about.startswith(benchmark):
        rest = about.removeprefix(benchmark).strip("_").replace("_", " ")
        return ", ".join(filter(None, (benchmark_title(benchmark), rest)))
    return about.replace("_", " ")


def _settings_text(settings: dict[str, Any]) -> str:
    """Settings in words: `device: cpu; full: no; sizes: 8, 1024`."""
    return "; ".join(f"{name.replace('_', ' ')}: {_value_text(value)}" for name, value in settings.items())


def _value_text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list):
        return (
            ", ".join(" x ".join(map(str, item)) if isinstance(item, list) else str(item) for item in value) or "none"
        )
    return "not given" if value in (None, "") else str(value)


def _inlined(figure, name: str) -> Markup:
    """The picture as SVG without XML header; its identifiers get a prefix that is unique on the page."""
    text = style.as_bytes(figure, "svg").decode("utf-8")
    return Markup(IDENTIFIER.sub(rf"\g<1>{name}-", text[text.index("<svg") :]))
