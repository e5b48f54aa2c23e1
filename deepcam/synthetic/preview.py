# SPDX-License-Identifier: Apache-2.0
"""A picture of samples with their masks: what the network reads, and what it is to say.

python -m deepcam.synthesize data --train 8 --validation 4 --preview preview.png
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from deepcam.loss import CLASS_NAMES
from deepcam.sample_files import CHANNELS, Sample

MASK_COLOURS = ("#00000000", "#ff2d55", "#00d5ff")
EXTENT = (0, 360, -90, 90)


def draw(path: Path, samples: Iterable[Sample], title: str) -> None:
    """Three maps a sample: column water under the mask, sea-level pressure, wind at 850 hPa, each with outlines."""
    samples = list(samples)
    figure = Figure(figsize=(18, 3.2 * len(samples) + 0.6), layout="constrained")
    rows = figure.subplots(len(samples), 3, squeeze=False)
    for axes, (fields_HWC, labels_HW) in zip(rows, samples, strict=True):
        _draw_sample(axes, dict(zip(CHANNELS, np.moveaxis(fields_HWC, -1, 0), strict=True)), labels_HW)
    patches = [Patch(color=colour, label=name) for colour, name in zip(MASK_COLOURS[1:], CLASS_NAMES[1:], strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=2)
    figure.suptitle(title)
    figure.savefig(path, dpi=80)


def _draw_sample(axes: Iterable[Axes], fields: dict[str, np.ndarray], labels_HW: np.ndarray) -> None:
    maps = (
        ("column water TMQ, kg/m2", fields["TMQ"], "YlGnBu"),
        ("sea-level pressure PSL, hPa", fields["PSL"] / 100, "RdBu_r"),
        ("wind at 850 hPa, m/s", np.hypot(fields["U850"], fields["V850"]), "magma"),
    )
    for number, (single, (name, field, colours)) in enumerate(zip(axes, maps, strict=True)):
        single.imshow(field, origin="lower", extent=EXTENT, cmap=colours, aspect="auto")
        if number == 0:
            mask = ListedColormap(MASK_COLOURS)
            single.imshow(
                labels_HW, origin="lower", extent=EXTENT, cmap=mask, vmin=0, vmax=2, aspect="auto", interpolation="none"
            )
        for kind in (1, 2):
            if (labels_HW == kind).any():
                outline = labels_HW == kind
                single.contour(outline, levels=[0.5], extent=EXTENT, colors=[MASK_COLOURS[kind]], linewidths=0.8)
        single.set_title(name)
        single.set_xticks(range(0, 361, 60))
        single.set_yticks(range(-90, 91, 30))
