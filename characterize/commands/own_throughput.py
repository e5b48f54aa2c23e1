# SPDX-License-Identifier: Apache-2.0
"""The user's own throughput for `predict`: from the command line, or from a result of `scaling`."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from characterize.models.prediction import MeasuredThroughput
from characterize.results.result import CharacterizeError, load
from characterize.rounds.facts import EntryFacts

FORM = re.compile(r"([1-9]\d{0,8}):([1-9]\d{0,8})=(\d{1,12}(?:\.\d+)?)")
Throughputs = dict[tuple[int, int], MeasuredThroughput]


def from_texts(texts: Iterable[str]) -> Throughputs:
    """Rates by (ranks, batch size), from texts such as `512:1024=9000`."""
    own = {}
    for text in texts:
        match = FORM.fullmatch(text)
        if match is None or not float(match[3]) > 0:
            raise CharacterizeError(
                f"--throughput: found {text!r}, expected RANKS:BATCH=SAMPLES_PER_SECOND, such as 512:1024=9000"
            )
        own[int(match[1]), int(match[2])] = MeasuredThroughput(samples_per_s=float(match[3]))
    return own


def from_scaling(folder: Path, benchmark: str, entries: Sequence[EntryFacts]) -> Throughputs:
    """Rates by (ranks, batch size), from a folder's result of `scaling BENCHMARK --full`.

    `scaling` times training steps. The time for evaluation and pauses is added as in the public `entries`.
    """
    path = folder / f"scaling_{benchmark}.json"
    result = load(path, "scaling")
    if not result.settings.get("is_reference_size"):
        size = " x ".join(map(str, result.settings.get("size", ["unknown"])))
        raise CharacterizeError(f"{path}: measured on {size}, expected the reference input; use scaling --full")
    share = median(entry.samples_per_s / entry.training_samples_per_s for entry in entries)
    own = {}
    for kind, seconds_by_ranks in result.data["seconds"].items():
        for ranks, seconds in seconds_by_ranks.items():
            batch = result.data["global_batch_size"][kind][ranks]
            own[int(ranks), batch] = MeasuredThroughput(samples_per_s=share * batch / median(seconds))
    return own
