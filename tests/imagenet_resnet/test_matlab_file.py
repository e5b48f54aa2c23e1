# SPDX-License-Identifier: Apache-2.0
"""MATLAB files as SciPy writes them are read back."""

import io

import numpy as np
import pytest
from scipy.io import savemat

from imagenet_resnet.matlab_file import MatlabError, read_records


def saved(*, compressed: bool, **variables) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables, do_compression=compressed)
    return stream.getvalue()


@pytest.mark.parametrize("compressed", [True, False])
def test_a_struct_array_of_numbers_and_text(compressed):
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("children", "O"), ("num_train_images", "O")]
    rows = [(1, "n02119789", "kit fox", np.array([], dtype=float), 1300), (2, "n1", "é", np.array([3.0, 4.0]), 732)]
    synsets = np.array([[row] for row in rows], dtype=kinds)
    found = read_records(saved(compressed=compressed, other=np.eye(3), synsets=synsets))
    assert found == [
        {"ILSVRC2012_ID": 1, "WNID": "n02119789", "words": "kit fox", "children": None, "num_train_images": 1300},
        {"ILSVRC2012_ID": 2, "WNID": "n1", "words": "é", "children": None, "num_train_images": 732},
    ]


def test_what_is_no_such_file_is_refused():
    with pytest.raises(MatlabError, match="not a MATLAB file"):
        read_records(b"anything")
    with pytest.raises(MatlabError, match="holds no struct array"):
        read_records(saved(compressed=True, other=np.eye(3)))
    whole = saved(compressed=True, synsets=np.array([[(1,)]], dtype=[("a", "O")]))
    with pytest.raises(MatlabError):
        read_records(whole[:-20])
