"""Data as people have it: read to the items of the plain form, and said in one line; or the item and the mend named."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from comparisons.cli import execute
from comparisons.dataset import records
from comparisons.dataset.behaviors import Library
from comparisons.dataset.checks import check_all
from comparisons.dataset.lettering import KNOWLEDGE
from comparisons.dataset.records import read_items
from tests.places import fact, make_place, paper, record, write

COUNT = 20
PLAIN = [record(index) for index in range(COUNT)]
MATCHING, CONTRAST = "answer_matching_behavior", "answer_not_matching_behavior"
NAMES = tuple(PLAIN[0])

Rows = Sequence[dict[str, Any]]


@pytest.fixture(params=["memory", "disk"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items of small files, and as those of large ones are."""
    if request.param == "disk":
        monkeypatch.setattr(records, "LARGE", 0)


def as_json(rows: Any, **form: Any) -> bytes:
    return json.dumps(rows, **form).encode()


def lines(rows: Rows, end: str = "\n") -> bytes:
    return "".join(json.dumps(row) + end for row in rows).encode()


def table(rows: Rows, separator: str = ",", **form: Any) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, **form)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def columns(rows: Rows) -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(list(rows)), sink)
    return sink.getvalue()


def relabelled(mark: str, answer: str | None = None, rows: Rows = PLAIN) -> list[dict[str, Any]]:
    """The rows with other letters: "A)" or "**a.**" in the questions, and in the answers unless they have their own."""
    given: list[dict[str, Any]] = []
    for row in rows:
        question = row["question"]
        for letter in "AB":
            question = question.replace(f"({letter})", shaped(mark, letter))
        answers = {name: shaped(answer or mark, row[name][1]) for name in (MATCHING, CONTRAST)}
        given.append({**row, "question": question, **answers})
    return given


def shaped(mark: str, letter: str) -> str:
    return re.sub("(?<![A-Za-z])[Aa](?![A-Za-z])", lambda found: letter if found[0] == "A" else letter.lower(), mark)


def with_fields(change: Callable[[dict[str, Any]], dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, **change(row)} for row in PLAIN]


def repeated(row: dict[str, Any], mark: str) -> dict[str, Any]:
    """The answers as the choices' own texts, behind a mark or alone."""
    text = {"(A)": row["question"].partition("(A) ")[2].partition("\n")[0], "(B)": row["question"].partition("(B) ")[2]}
    return {name: shaped(mark, row[name][1]) + text[row[name]] for name in (MATCHING, CONTRAST)}


OTHER = "choices that are lettered otherwise are shown as (A) and (B)"
MARKS = (
    *("A)", "(a)", "a.", "A:", "**A.**", "**A**.", "**(A)**"),
    *("[A]", "A )", "( a )", "a)", "A.", "A.)", "__A__)", "（A）", "A -", "**A** –", "A |"),
)
LISTED = ("- A)", "* (A)", "• a.")

READ: dict[str, tuple[str, bytes, str]] = {
    "json": ("x.json", as_json(PLAIN), ""),
    "json, indented, with a byte order mark": ("x.json", b"\xef\xbb\xbf" + as_json(PLAIN, indent=2), ""),
    "json in UTF-16": ("x.json", json.dumps(PLAIN).encode("utf-16"), "its text is UTF-16"),
    "json in UTF-16 without a mark": ("x.json", json.dumps(PLAIN).encode("utf-16-le"), "its text is UTF-16-LE"),
    "json lines": ("x.jsonl", lines(PLAIN), ""),
    "json lines of Windows": ("x.JSONL", b"\xef\xbb\xbf" + lines(PLAIN, "\r\n\r\n"), ""),
    "json lines called ndjson": ("x.ndjson", lines(PLAIN), ""),
    "json lines called json": ("x.json", lines(PLAIN), "is JSON lines"),
    "json called jsonl": ("x.jsonl", as_json(PLAIN), "is a JSON list"),
    "json called jsonl, indented": ("x.jsonl", as_json(PLAIN, indent=1), "is a JSON list"),
    "objects one after the other": ("x.jsonl", b"\n".join(as_json(row, indent=1) for row in PLAIN), ""),
    "under data": ("x.json", as_json({"data": PLAIN}), 'its items are under "data"'),
    "under items, beside a version": (
        "x.json",
        as_json({"version": "1", "tags": ["a"], "items": PLAIN, "notes": []}),
        'its items are under "items"',
    ),
    "under two keys": ("x.json", as_json({"data": {"rows": PLAIN}}), 'its items are under "rows"'),
    "under data, called jsonl": ("x.jsonl", as_json({"data": PLAIN}, indent=1), 'its items are under "data"'),
    "csv": ("x.csv", table(PLAIN), ""),
    "csv of Excel": ("x.csv", b"\xef\xbb\xbf" + table(PLAIN, ";"), "its columns are separated by ';'"),
    "csv that names its separator": ("x.csv", b"sep=;\r\n" + table(PLAIN, ";"), "its columns are separated by ';'"),
    "csv with tabs": ("x.csv", table(PLAIN, "\t"), "its columns are separated by tabs"),
    "csv with bars": ("x.csv", table(PLAIN, "|"), "its columns are separated by '|'"),
    "csv, all quoted": ("x.csv", table(PLAIN, ";", quoting=csv.QUOTE_ALL), "its columns are separated by ';'"),
    "csv in UTF-16": ("x.csv", table(PLAIN).decode().encode("utf-16"), "its text is UTF-16"),
    "csv with blanks behind commas": ("x.csv", table(PLAIN, quoting=csv.QUOTE_ALL).replace(b'","', b'", "'), ""),
    "csv with blank rows": ("x.csv", table(PLAIN).replace(b"(A)\r\n", b"(A)\r\n,,\r\n\r\n"), ""),
    "csv with trailing empty columns": (
        "x.csv",
        table(with_fields(lambda row: {"": "", " ": ""})),
        "columns without a name are not read",
    ),
    "csv with trailing empty cells": ("x.csv", table(PLAIN).replace(b"\r\n", b",,\r\n"), "columns without a name"),
    "csv of pandas": (
        "x.csv",
        table([{"": index, **row} for index, row in enumerate(PLAIN)]),
        "columns without a name are not read",
    ),
    "tsv": ("x.tsv", table(PLAIN, "\t"), ""),
    "tsv with commas": ("x.tsv", table(PLAIN), "its columns are separated by ','"),
    "parquet": ("x.parquet", columns(PLAIN), ""),
    "parquet with lists": (
        "x.parquet",
        columns(with_fields(lambda row: {MATCHING: [row[MATCHING]]})),
        "answers that are lists of one are read as that one",
    ),
    "more fields": (
        "x.jsonl",
        lines(with_fields(lambda row: {"id": 3, "source": {"a": 1}})),
        "fields that are not read: id, source",
    ),
    "very many more": ("x.jsonl", lines(with_fields(lambda row: {f"f{i}": 0 for i in range(11)})), " and 3 more"),
    "Anthropic's fields": ("x.jsonl", lines(with_fields(lambda row: {"statement": "a", "label_confidence": 0.9})), ""),
    "lists of one": (
        "x.json",
        as_json(with_fields(lambda row: {MATCHING: [row[MATCHING]], CONTRAST: [row[CONTRAST]]})),
        "answers that are lists of one are read as that one",
    ),
    "blanks around letters": ("x.json", as_json(with_fields(lambda row: {MATCHING: f" {row[MATCHING]} "})), ""),
    "letters under the names of answers": (
        "x.json",
        as_json([dict(zip(("question", "matching", "contrast"), row.values(), strict=True)) for row in PLAIN]),
        "",
    ),
    **{
        f"{names[1]} and {names[2]}": (
            "x.json",
            as_json([dict(zip(names, row.values(), strict=True)) for row in PLAIN]),
            f"its fields {', '.join(names)} are read as question, matching, contrast",
        )
        for names in (
            ("question", "matching", "not_matching"),
            ("prompt", "chosen", "rejected"),
            ("question", "positive", "negative"),
        )
    },
    "answers that repeat a choice": (
        "x.json",
        as_json(with_fields(lambda row: repeated(row, ""))),
        'answers that repeat a choice, such as "No", are read as its letter',
    ),
    "answers that repeat a choice behind its letter": (
        "x.json",
        as_json(with_fields(lambda row: repeated(row, "A. "))),
        'answers that repeat a choice, such as "B. No", are read as its letter',
    ),
    "two things at once": (
        "x.json",
        lines(relabelled("A)")),
        f'is JSON lines; letters such as "B)" are read as (B); {OTHER}',
    ),
    **{f"{mark} in both": ("x.json", as_json(relabelled(mark)), OTHER) for mark in MARKS},
    **{f"{mark} in questions": ("x.json", as_json(relabelled(mark, "(A)")), OTHER) for mark in (*MARKS, *LISTED)},
    **{f"{mark} in answers": ("x.json", as_json(relabelled("(A)", mark)), "letters such as") for mark in MARKS},
    **{
        f"{text} in answers": ("x.json", as_json(relabelled("(A)", text)), "letters such as")
        for text in (
            *("A -", "<A>", "[[A]]", "{A}", "A,", "A;", "#A", "My answer is A"),
            *("Option A", "option (a)", "The answer is (A).", "Answer: A"),
        )
    },
    "answers that repeat a choice, with a stop": (
        "x.json",
        as_json(with_fields(lambda row: {name: f"{text}." for name, text in repeated(row, "A) ").items()})),
        'answers that repeat a choice, such as "B) No.", are read as its letter',
    ),
    "bare lower case": ("x.json", as_json(relabelled("(a)", "a")), 'letters such as "b" are read as (B)'),
}
"""A file of the twenty plain items in another form, and the line that says so, or no line."""


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", READ)
def test_what_is_plain_is_read_as_the_plain_form_and_said_in_a_line(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, content, said = READ[name]
    (tmp_path / file).write_bytes(content)
    plain = read_items(write(tmp_path / "plain.json", PLAIN), "x")
    for _ in range(2):  # and said once
        assert tuple(read_items(tmp_path / file, "x")) == tuple(plain)
    assert all(item.parsed for item in plain)
    assert [message for message in caplog.messages if said and said in message] == caplog.messages
    assert len(caplog.messages) == bool(said)
    assert all(m.startswith(f"{tmp_path / file}: ") and m.endswith(".") and "\n" not in m for m in caplog.messages)


MESSAGES = [
    {
        "prompt": [{"role": "user", "content": f"Would you take number {index}?"}],
        "chosen": [{"role": "user", "content": "Would you?"}, {"role": "assistant", "content": f"B) Yes, {index}"}],
        "rejected": [{"role": "assistant", "content": "A) No"}],
    }
    for index in range(COUNT)
]


@pytest.mark.usefixtures("kept")
def test_answers_in_messages_and_behind_letters_of_their_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No choice is shown as "(A) B) Yes", whose other order would have it as "(B) B) Yes"."""
    items = read_items(write(tmp_path / "x.json", MESSAGES), "train")
    for index, item in enumerate(items):
        texts = {choice.letter: choice.text for choice in item.choices}
        assert item.stem == f"Would you take number {index}?"
        assert (texts[item.matching], texts[item.contrast]) == (f"Yes, {index}", "No")
    (line,) = [each.message for each in caplog.records]
    assert line.endswith(
        'of messages the last one\'s text is read; letters before answers, as in "A) No", are left out.'
    )
    spaced = [{**row, "question": row["question"].replace("\n (", "\n\u00a0(")} for row in PLAIN]
    (item, *_), (plain, *_) = (read_items(write(tmp_path / "z.json", rows), "x") for rows in (spaced, PLAIN))
    assert item.parsed and (item.stem, item.choices) == (plain.stem, plain.choices)
    fact = {"question": "Sky?", "choices": ["A. blue", "B. red"], "answer": "A"}
    (item,) = read_items(write(tmp_path / "y.json", [fact]), "test", KNOWLEDGE)
    assert [choice.text for choice in item.choices] == ["blue", "red"] and item.matching == "A"


def test_text_answers_below_a_list_are_texts(tmp_path: Path) -> None:
    rows = [{"question": "Rate these:\nA. apples\nB. pears", "matching": "Good", "contrast": "Bad"}]
    (item,) = read_items(write(tmp_path / "x.json", rows), "x")
    assert (item.texts, item.own_letters) == (("Good", "Bad"), False)
    assert item.question == "Rate these:\nA. apples\nB. pears\n\nChoices:\n (A) Bad\n (B) Good"


@pytest.mark.parametrize("mark", MARKS)
def test_knowledge_questions_are_read_alike(mark: str, tmp_path: Path) -> None:
    plain = [fact(index) for index in range(4)]
    other = [
        {**row, "prompt": row["prompt"].replace("(A)", shaped(mark, "A")).replace("(B)", shaped(mark, "B"))}
        | {name: [shaped(mark, row[name][1])] for name in ("correct", "incorrect")}
        for row in plain
    ]
    paths = [write(tmp_path / "plain.json", plain), write(tmp_path / "other.json", {"questions": other})]
    plain_items, items = (read_items(path, "x", KNOWLEDGE) for path in paths)
    assert items == plain_items

    many = {"question": "2 + 2 =\n\nChoices:\n(A) 3\n(B) 4\n(C) 5", MATCHING: "(B)"}
    question = many["question"]
    for letter in "ABC":
        question = question.replace(f"({letter})", shaped(mark, letter))
    paths = [
        write(tmp_path / "many.json", [many]),
        write(tmp_path / "o.json", [{"question": question, MATCHING: "b."}]),
    ]
    assert read_items(paths[0], "x", KNOWLEDGE) == read_items(paths[1], "x", KNOWLEDGE)


def test_mmlu_in_parquet_is_read(tmp_path: Path) -> None:
    rows = [
        {"question": f"{i} + 1 =", "choices": ["0", str(i + 1), "x"], "answer": 1, "subject": "s"} for i in range(3)
    ]
    (tmp_path / "x.parquet").write_bytes(columns(rows))
    plain = read_items(write(tmp_path / "plain.json", rows), "x", KNOWLEDGE)
    assert read_items(tmp_path / "x.parquet", "x", KNOWLEDGE) == plain
    assert [item.matching for item in plain] == ["B"] * 3


def test_a_run_validate_and_stats_see_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in (("plain", PLAIN), ("other", relabelled("a)"))):
        write(tmp_path / f"{name}.json", rows)
        for command in (["stats", "--json"], ["validate", "--json"]):
            assert execute(["data", *command, "--data", f"{name}.json"]) == 0
    plain_stats, plain_findings, stats, findings = map(json.loads, capsys.readouterr().out.splitlines())
    assert [{**row, "behavior": "plain"} for row in stats] == plain_stats
    assert [{**row, "behavior": "plain"} for row in findings] == plain_findings
    behaviors = [Library.open(Path(f"{name}.json")).behavior(name) for name in ("plain", "other")]
    assert len({behavior.test_digest for behavior in behaviors}) == 1


def test_validate_finds_knowledge_and_prompts_that_a_run_could_not_read(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    write(place / "test/knowledge/knowledge.json", [{**fact(1), "correct": "Z)"}])
    (error,) = [finding for finding in check_all(Library.open(place)) if finding.level == "error"]
    assert (error.behavior, error.part) == ("", "knowledge") and "is (Z), but the choices are A, B" in error.text
    write(place / "test/knowledge/knowledge.json", {"data": [fact(1)]})
    assert not [finding for finding in check_all(Library.open(place)) if finding.level == "error"]


@pytest.mark.parametrize("data", ["pocket", "english", "paper"])
def test_packaged_and_published_data_say_nothing(data: str, caplog: pytest.LogCaptureFixture) -> None:
    library = Library.open(paper() if data == "paper" else data)
    # The paper's data has test questions among its pairs.
    expected = {"refusal", "myopic-reward", "sycophancy"} if data == "paper" else set()
    assert {finding.behavior for finding in check_all(library) if finding.level == "error"} == expected
    assert library.knowledge("auto")
    assert not caplog.messages


def test_the_line_stands_on_stderr_before_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("comparisons"), "hasHandlers", lambda: False)
    monkeypatch.setattr(logging.getLogger("comparisons"), "propagate", False)
    (tmp_path / "x.csv").write_bytes(table(with_fields(lambda row: {"id": 1}), ";"))
    assert execute(["data", "stats", "--data", str(tmp_path / "x.csv")]) == 0
    said = f"{tmp_path / 'x.csv'}: its columns are separated by ';'; fields that are not read: id.\n"
    assert capsys.readouterr().err == said
