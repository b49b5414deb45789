"""Any records, in any form and with any usual marks, are items or a line."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from comparisons.dataset.items import Item, lettered_form
from comparisons.dataset.lettering import BEHAVIOR, KNOWLEDGE, Fields, Origin, read_item
from comparisons.dataset.reading import Reading
from comparisons.dataset.records import read_items
from comparisons.util.errors import CompareError
from tests.test_forms import CONTRAST, MARKS, MATCHING, Rows, as_json, columns, lines, shaped, table

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30)


ROWS = st.lists(st.fixed_dictionaries({"question": TEXT, "a": TEXT, "b": TEXT}), min_size=1, max_size=6)


FORMS: dict[str, Callable[[Rows], bytes]] = {
    "x.json": as_json,
    "lines.json": lines,
    "list.jsonl": as_json,
    "data.json": lambda rows: as_json({"data": rows}),
    "x.jsonl": lines,
    **{f"{i}.csv": lambda rows, s=s: table(rows, s, quoting=csv.QUOTE_ALL) for i, s in enumerate(",;\t|")},  # type: ignore[misc]
    "x.parquet": columns,
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, chunk=st.sampled_from([1, 3, 1 << 16]))
def test_any_records_come_back_from_any_form(
    rows: Rows, chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = [row for row in rows if any(text.strip() for text in row.values())]  # a blank row of a table is none
    for name, form in FORMS.items():
        if not filled or (name == "lines.json" and len(filled) == 1):
            continue
        path = tmp_path / name
        path.write_bytes(form(filled))
        with monkeypatch.context() as patched:
            if not name.endswith(".csv"):
                patched.setattr("comparisons.dataset.reading.CHUNK", chunk)
            assert list(Reading(path).records()) == filled, name


WORD = st.text(st.sampled_from("xyz é,'1"), min_size=1).filter(lambda text: bool(text.strip()))


@given(stem=WORD, texts=st.lists(WORD, min_size=2, max_size=5, unique_by=str.strip), mark=st.sampled_from(MARKS))
def test_choices_lettered_in_any_usual_way_are_the_plain_ones(stem: str, texts: list[str], mark: str) -> None:
    def asked(form: str) -> str:
        pairs = zip("ABCDE", texts, strict=False)
        return "\n".join([stem, *(f"{shaped(form, letter)} {text}" for letter, text in pairs)])

    plain = asked("(A)")
    assert lettered_form(asked(mark)) == lettered_form(plain) == plain
    assert [choice.text for choice in Item.parse("x", plain, "A", "B").choices] == [text.strip() for text in texts]


VALUES = st.one_of(
    *(
        st.sampled_from(
            [*MARKS, "(B)", "b", "Yes", "B) No", "Q?\nA) Yes\nB) No", "Q?\n (A) Yes\n (B) No", "", "\ud800"]
        ),
    ),
    *(st.none(), st.booleans(), st.integers(), st.floats(), TEXT),
    *(st.lists(st.sampled_from(["A)", "(B)", 1, None]), max_size=3), st.just({})),
)


FIELDS = ("question", MATCHING, CONTRAST, "matching", "contrast", "prompt", "correct", "incorrect", "label", "template")


@given(
    row=st.dictionaries(st.sampled_from((*FIELDS, "statement", "choices", "answer", "subject")), VALUES, max_size=6),
    fields=st.sampled_from([BEHAVIOR, KNOWLEDGE]),
    number=st.integers(1, 4),
)
def test_any_record_is_an_item_or_a_line(row: dict[str, Any], fields: Fields, number: int) -> None:
    try:
        item = read_item(row, Origin("x: item 1", "x/0", number), fields)
    except CompareError as error:
        assert str(error).startswith("x: item 1: ") and "\n" not in str(error)
    else:
        assert item.matching not in item.contrast and item.question.strip()
        assert not item.choices or {item.matching, *item.contrast} <= {choice.letter for choice in item.choices}


@pytest.mark.parametrize(
    ("matching", "contrast", "words"),
    [(4, 5, ("4", "5")), (1.5, -2.0, ("1.5", "-2")), (True, False, ("True", "False")), ([7], [8], ("7", "8"))],
)
def test_answers_that_are_numbers_are_the_texts_that_a_table_has(
    matching: object, contrast: object, words: tuple[str, str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [{"question": f"Which is it, {index}?", "matching": matching, "contrast": contrast} for index in range(6)]
    (tmp_path / "x.csv").write_bytes(table([{**row, **dict(zip(list(row)[1:], words, strict=True))} for row in rows]))
    plain = tuple(read_items(tmp_path / "x.csv", "x"))
    assert {frozenset(choice.text for choice in item.choices) for item in plain} == {frozenset(words)}
    assert not caplog.messages
    for name, form in (("x.json", as_json), ("x.jsonl", lines), ("x.parquet", columns)):
        (tmp_path / name).write_bytes(form(rows))
        assert tuple(read_items(tmp_path / name, "x")) == plain, name
    assert len(caplog.messages) == 3
    assert all("answers that are numbers, or true and false, are read as texts" in line for line in caplog.messages)


def test_lists_that_a_table_wrote_as_texts_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"question": f"Which, {index}?", "matching": "['Yes']", "contrast": '["No"]'} for index in range(3)]
    (tmp_path / "x.csv").write_bytes(table(rows))
    assert read_items(tmp_path / "x.csv", "x")[0].own_letters is False
    (line,) = caplog.messages
    assert line.endswith("""answers such as "['Yes']" are read as they are, with their brackets.""")
