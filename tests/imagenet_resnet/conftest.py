# SPDX-License-Identifier: Apache-2.0
"""A few small pictures in both forms of the data set."""

from pathlib import Path

import pytest

from imagenet_resnet.synthesize import synthesize
from imagenet_resnet.synthetic.gratings import Drawing

DRAWING = Drawing(num_classes=4, width=48, height=36)
COUNTS = {"train": 22, "validation": 9}


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """22 + 9 gratings of 4 classes as image folders. Read only."""
    folder = tmp_path_factory.mktemp("folders")
    synthesize(folder, DRAWING, COUNTS, form="folders", num_processes=1)
    return folder


@pytest.fixture(scope="session")
def shards_folder(tmp_path_factory) -> Path:
    """The same pictures as tar shards of 5 samples. Read only."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imagenet_resnet.synthesize.SAMPLES_PER_SHARD", 5)
        synthesize(folder, DRAWING, COUNTS, form="shards", num_processes=1)
    return folder
