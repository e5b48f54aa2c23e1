# SPDX-License-Identifier: Apache-2.0
"""Numbers as the page prints them: the template filters. What is missing prints as a dash."""

import re

from markupsafe import Markup, escape

from compliance.scoring.phases import Phases

MISSING = "\N{EN DASH}"


def fixed(value: float | None, digits: int = 2, trim: bool = False) -> str:
    """A fixed number of decimals, so that columns align; `trim` drops trailing zeros."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if trim and "." in text else text


def count(value: float | None) -> str:
    """A whole number."""
    return MISSING if value is None else f"{value:.0f}"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def described(phases: Phases) -> str:
    """A run's time split in words."""
    parts = {
        "staging": phases.staging_minutes,
        "training": phases.training_minutes,
        "evaluation": phases.evaluation_minutes,
        "other": phases.other_minutes,
    }
    return ", ".join(f"{name} {fixed(part)} min ({share(part, phases.total_minutes)})" for name, part in parts.items())


def plural(severity: str, number: int) -> str:
    """Findings of one severity in words: 2 errors, 1 warning, 3 to check by hand."""
    if severity == "manual":
        return "to check by hand"
    return severity if number == 1 or severity == "waived" else f"{severity}s"


def megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB"


def capitalize_first(text: str) -> str:
    """The first letter only: the rest may be an acronym."""
    return text[:1].upper() + text[1:]


def breakable(text: str) -> Markup:
    """Names of systems are long words: they may break after what joins their parts."""
    return Markup(re.sub(r"([_./:-])", r"\1<wbr>", str(escape(text))))


def percent(ratio: float | None) -> str:
    return MISSING if ratio is None else f"{100 * ratio:.2f} %"


def scientific(value: float | None) -> str:
    """Three digits and an exponent, as floating-point rates are quoted."""
    return MISSING if value is None else f"{value:.3e}"


SHOWN_BY = (fixed, count, share, percent, scientific, described, plural, megabytes, capitalize_first, breakable)
FILTERS = {function.__name__: function for function in SHOWN_BY}
