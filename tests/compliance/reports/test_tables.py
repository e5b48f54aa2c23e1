# SPDX-License-Identifier: Apache-2.0
"""Tables: aligned, and no cell can be more than a cell."""

import csv
import io

import pytest

from compliance.reports.tables import aligned, comma_separated, markdown, printable


def test_numbers_stand_to_the_right_and_texts_to_the_left():
    assert aligned([("name", "minutes"), ("a", "1.5"), ("longer", "12.25")]) == (
        "name    minutes\n------  -------\na           1.5\nlonger    12.25\n"
    )


@pytest.mark.parametrize("text", ["plain", "Größe µ", "東京"])
def test_ordinary_text_is_left_alone(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("\x1b[2J", r"\x1b[2J"), ("a\nb", r"a\nb"), ("\u202eevil", r"\u202eevil"), ("\udcff", r"\udcff")],
)
def test_what_would_move_a_cursor_is_escaped(text, escaped):
    assert printable(text) == escaped


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-2", "@SUM(A1)"])
def test_a_text_that_a_spreadsheet_would_compute_is_quoted(text):
    table = comma_separated([{"name": text, "value": -2.5}], ["name", "value"])
    assert list(csv.reader(io.StringIO(table))) == [["name", "value"], [f"'{text}", "-2.5"]]


def test_csv_takes_columns_that_only_some_records_have():
    assert comma_separated([{"a": 1}, {"a": 2, "b": None}, {"c": [3, 4]}], ["a"]) == "a,b,c\n1,,\n2,,\n,,3 4\n"


def test_a_markdown_cell_cannot_end_its_row():
    assert markdown(["x"], [["a | b"], ["<b>"], ["[l](u)"]]) == (
        "| x |\n| --- |\n| a \\| b |\n| \\<b\\> |\n| \\[l\\](u) |\n"
    )
