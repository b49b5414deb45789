"""Reading items from JSON, JSONL and CSV, good and bad."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.behaviors import Library
from comparisons.dataset.records import read_items
from comparisons.util.errors import CompareError
from tests.places import complaint, make_place, record, write

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_place(tmp_path)


def test_json_jsonl_and_csv_files_hold_the_same_behavior(tmp_path: Path) -> None:
    records = [record(index, template=f"t{index}", answer_matching_behavior=" (A)") for index in range(20)]
    for each in records:
        each["answer_not_matching_behavior"] = "B "
    write(tmp_path / "json/mine.json", records)
    lines = tmp_path / "jsonl/mine.jsonl"
    lines.parent.mkdir()
    lines.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(json.dumps(each) for each in records).encode() + b"\r\n\r\n")
    table = tmp_path / "csv/mine.csv"
    table.parent.mkdir()
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    read = [Library.open(tmp_path / kind / f"mine.{kind}").behavior("mine") for kind in ("json", "jsonl", "csv")]
    assert read[0].train == read[1].train == read[2].train
    assert read[0].test == read[1].test == read[2].test
    assert len({behavior.digest for behavior in read}) == 1
    assert (len(read[0].train), len(read[0].test)) == (16, 4)
    assert not {item.id for item in read[0].train} & {item.id for item in read[0].test}


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, None),
        (float("nan"), None),
        ("", None),
        ("x", "x"),
        (True, "True"),
        (1, "1"),
        (1.0, "1"),
        (0.5, "0.5"),
    ],
)
def test_labels_become_text_and_absent_ones_none(tmp_path: Path, value: Any, label: str | None) -> None:
    path = write(tmp_path / "mine.json", [record(index, label=value) for index in range(4)])
    assert {item.label for item in Library.open(path).behavior("mine").train} == {label}


ITEM_MISTAKES: list[tuple[str, Change, str]] = [
    ("question missing", lambda r: r.pop("question"), "field 'question' is missing"),
    ("question a number", lambda r: r.update(question=3), "field 'question' must be text, not 3"),
    ("question null", lambda r: r.update(question=None), "field 'question' must be text, not null"),
    ("question blank", lambda r: r.update(question=" \n"), "field 'question' is empty"),
    (
        "question broken",
        lambda r: r.update(question="\ud800"),
        "field 'question' holds half a surrogate pair",
    ),
    (
        "letter missing",
        lambda r: r.pop("answer_matching_behavior"),
        "field 'answer_matching_behavior' is missing",
    ),
    (
        "letters a list",
        lambda r: r.update(answer_matching_behavior=["(A)", "(B)"]),
        "field 'answer_matching_behavior' must be text, not a list",
    ),
    (
        "no letter",
        lambda r: r.update(answer_matching_behavior="Yes\nplease"),
        "field 'answer_matching_behavior' must be a letter such as (A), not \"Yes\\nplease\"",
    ),
    (
        "equal letters",
        lambda r: r.update(answer_not_matching_behavior="(A)"),
        "fields 'answer_matching_behavior' and 'answer_not_matching_behavior' are both (A)",
    ),
    (
        "letter not a choice",
        lambda r: r.update(answer_not_matching_behavior="(C)"),
        "field 'answer_not_matching_behavior' is (C), but the choices are A, B",
    ),
    (
        "label an object",
        lambda r: r.update(label={}),
        "field 'label' must be text or a number, not an object",
    ),
]


@pytest.mark.parametrize(("change", "message"), [pytest.param(*row[1:], id=row[0]) for row in ITEM_MISTAKES])
def test_a_mistake_in_an_item_names_file_item_and_field(folder: Path, change: Change, message: str) -> None:
    records = [record(index) for index in range(1, 4, 2)]
    change(records[1])
    path = write(folder / "test/greeting/test_dataset_ab.json", records)
    error = complaint(lambda: Library.open(folder).behavior("greeting"))
    assert error.startswith(f"{path}: item 2: {message}")


FILE_MISTAKES: list[tuple[str, str, bytes, str]] = [
    ("empty list", "json", b"[]", "holds no items"),
    ("empty file", "json", b"", "is not JSON, or is cut off (line 1"),
    ("truncated", "json", b'[{"question": "Wh', "item 1: is not JSON, or is cut off (line 1"),
    ("an object", "json", b"{}", "must hold a list of items, not an object"),
    ("a list of text", "json", b'["Why?"]', 'item 1 must be an object with fields, not "Why?"'),
    ("not UTF-8", "json", b'[{"question": "caf\xe9"}]', "is not UTF-8 (byte 18)"),
    ("not UTF-8 in a table", "csv", "question\ncaf\u00e9\n".encode("latin-1"), "is not UTF-8 (byte 12)"),
    ("half a UTF-16", "json", "[]".encode("utf-16")[:-1], "is not UTF-8 (byte 4)"),
    ("too deep", "json", b"[" * 200_000, "item 1: is JSON that can't be read"),
    ("number too long", "json", b"[" + b"1" * 5_000 + b"]", "item 1: is JSON that can't be read"),
    ("two lists", "json", b'{"a": [{}], "b": [{}]}', "must hold a list of items, not an object with several"),
    (
        "behind the list",
        "json",
        json.dumps([record(1)]).encode() + b"\n[]",
        "is not JSON, or is cut off (line 2, column 1",
    ),
    (
        "no comma",
        "json",
        b"[" + json.dumps(record(1)).encode() + b"\n {}]",
        "is not JSON, or is cut off (line 2, column 2",
    ),
    ("an empty list in an object", "json", b'{"data": []}', "holds no items"),
    (
        "line cut off",
        "jsonl",
        json.dumps(record(1)).encode() + b'\n{"que',
        "item 2: is not JSON, or is cut off",
    ),
    ("blank lines", "jsonl", b"\n\n", "holds no items"),
    ("header alone", "csv", b"question,answer_matching_behavior\n", "holds no items"),
    (
        "other header",
        "csv",
        b"prompt;letter\nWhy?;A\n",
        "item 1: field 'question' is missing; there are: prompt, letter",
    ),
    (
        "short row",
        "csv",
        b"question,answer_matching_behavior\nWhy?\n",
        "item 1: field 'answer_matching_behavior' is miss",
    ),
    ("long row", "csv", b"question\nWhy?,A\n", "item 1 has more cells than the header has names"),
    ("open quote", "csv", b'question\n"Why?\n', "item 1 is not CSV"),
    ("one name twice", "csv", b"question,question\nWhy?,Why?\n", "two columns have one name"),
    ("one item", "json", json.dumps([record(1)]).encode(), "holds one item"),
    ("parquet", "parquet", b"PAR1", "is not a parquet file, or is cut off"),
    ("kind", "xlsx", b"", "unknown kind of file: use .json, .jsonl, .ndjson, .csv, .tsv, .parquet, or a folder"),
]


@pytest.mark.parametrize(("suffix", "content", "message"), [pytest.param(*row[1:], id=row[0]) for row in FILE_MISTAKES])
def test_a_mistake_in_a_file_names_it(tmp_path: Path, suffix: str, content: bytes, message: str) -> None:
    path = tmp_path / f"mine.{suffix}"
    path.write_bytes(content)
    assert complaint(lambda: Library.open(path).behavior("mine")).startswith(f"{path}: {message}")


def test_claims_are_read_as_honesty_items(tmp_path: Path) -> None:
    file = tmp_path / "honesty.csv"
    file.write_text(
        'statement,label\nThe sun is cold.,0\nWater is wet.,1\n"Rome, a city, is in Italy.",True\nTwo is odd.,false\n'
    )
    items = read_items(file, "honesty")
    assert [item.label for item in items] == ["false", "true", "true", "false"]
    assert all(item.parsed for item in items)
    for item in items:
        texts = {choice.letter: choice.text for choice in item.choices}
        assert texts[item.matching].lower() == item.label
        assert texts[item.contrast].lower() != item.label
    assert sorted(item.matching for item in items) == ["A", "A", "B", "B"]
    assert "Rome, a city, is in Italy." in items[2].question


@pytest.mark.parametrize("label", ["maybe", "2", ""])
def test_a_claim_without_a_truth_is_named(tmp_path: Path, label: str) -> None:
    file = tmp_path / "honesty.csv"
    file.write_text(f"statement,label\nThe sun is cold.,{label}\n")
    with pytest.raises(CompareError, match="item 1: field 'label' must be true or false"):
        read_items(file, "honesty")
