"""What is not plain in a file of records is refused in a line that names the item and the mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from comparisons.dataset.behaviors import Library
from tests.places import complaint
from tests.test_forms import CONTRAST, MATCHING, PLAIN, as_json, columns, lines, relabelled, table
from tests.test_forms import kept as kept  # a fixture


def changed(**fields: Any) -> bytes:
    """The plain items, of which the third has these fields."""
    return as_json([*PLAIN[:2], {**PLAIN[2], **fields}, *PLAIN[3:]])


KINDS = "unknown kind of file: use .json, .jsonl, .ndjson, .csv, .tsv, .parquet, or a folder"

NAMED: dict[str, tuple[str, bytes, str]] = {
    "latin-1": ("x.csv", table(PLAIN).replace(b"take", b"caf\xe9"), "is not UTF-8 (byte 78): save it as UTF-8."),
    "two lists": (
        "x.json",
        as_json({"train": PLAIN, "test": PLAIN}),
        'must hold a list of items, not an object with several: keep one of "train", "test".',
    ),
    "one item alone": (
        "x.json",
        as_json(PLAIN[0]),
        "must hold a list of items, not an object: write [{…}, …], or an object a line.",
    ),
    "a line that is broken": (
        "x.json",
        lines(PLAIN) + b"{oh",
        "item 21: is not JSON, or is cut off (line 21, column 2",
    ),
    "more cells that aren't empty": (
        "x.csv",
        table(PLAIN).replace(b"(B)\r\n", b"(B),,x\r\n", 1),
        "item 2 has more cells than the header has names: put a text that holds ',' into quotes.",
    ),
    "quotes within quotes": (
        "x.csv",
        table(PLAIN).replace(b"take", b'"take"', 1),
        "item 1 is not CSV: ',' expected after '\"'; double quotes inside a quoted text.",
    ),
    "a workbook": ("x.xlsx", b"PK", f"{KINDS}; save its table as .csv."),
    "packed lines": (
        "x.jsonl.gz",
        b"\x1f\x8b",
        f"{KINDS}; unpack it first.",
    ),
    "an archive": ("x.zip", b"PK", f"{KINDS}; unpack it first."),
    "no parquet": ("x.parquet", b"PAR1", "is not a parquet file, or is cut off: "),
    "a parquet without an answer": (
        "x.parquet",
        columns([*PLAIN[:2], {**PLAIN[2], MATCHING: None}]),
        f"item 3: field '{MATCHING}' is missing",
    ),
    "messages as a text": (
        "x.csv",
        table([{**PLAIN[0], MATCHING: "[{'content': 'Yes', 'role': 'assistant'}]"}, *PLAIN[1:]]),
        f"item 1: field '{MATCHING}' holds messages written as a text: give them as a list, in JSON lines or parquet.",
    ),
    "the same answer in other characters": (
        "x.json",
        changed(question="Which?", **{MATCHING: "caf\u00e9", CONTRAST: "cafe\u0301"}),
        f"item 3: fields '{MATCHING}' and '{CONTRAST}' hold the same answer.",
    ),
    "a letter and a text": ("x.json", changed(**{MATCHING: "A)", CONTRAST: "Never"}), "item 3: field"),
    "two answers in a list": (
        "x.json",
        changed(**{MATCHING: ["A)", "B)"]}),
        f"item 3: field '{MATCHING}' must be text, not a list",
    ),
    "letters that no choice has": (
        "x.json",
        changed(**{MATCHING: "c."}),
        f"item 3: field '{MATCHING}' is (C), but the",
    ),
    "the same letter in two forms": (
        "x.json",
        changed(**{MATCHING: "b)", CONTRAST: "(B)"}),
        f"item 3: fields '{MATCHING}' and '{CONTRAST}' are both (B)",
    ),
    "choices on one line": (
        "x.json",
        changed(question="Why? a) Yes b) No", **{MATCHING: "a)", CONTRAST: "b)"}),
        f"item 3: fields '{MATCHING}' and '{CONTRAST}' are letters, but no choices are found in its question: "
        "write each on a line of its own, as (A) … and (B) ….",
    ),
    **{
        f"choices by {marks}": (
            "x.json",
            changed(
                question=f"Why?\n{marks[0]} Yes\n{marks[1]} No",
                **{MATCHING: answers[0], CONTRAST: answers[1]},
            ),
            f"item 3: fields '{MATCHING}' and '{CONTRAST}' name choices of its question by ",
        )
        for marks, answers in (
            (("1.", "2."), ("1.", "2.")),
            (("(1)", "(2)"), ("1", "2")),
            (("- 1:", "- 2:"), ("(2)", "(1)")),
            (("\u0410)", "\u0412)"), ("\u0410)", "\u0412)")),
        )
    },
    "choices in two ways": (
        "x.json",
        changed(question="Why?\nA) Yes\nB) No\na. Yes\nb. No", **{MATCHING: "a)", CONTRAST: "b)"}),
        "item 3: fields",
    ),
    "a letter with another text": (
        "x.json",
        as_json(relabelled("A)", "A) Perhaps")),
        f"item 1: field '{MATCHING}' must be a letter such as (A), not \"B) Perhaps\"",
    ),
    "text answers beside choices": (
        "x.json",
        changed(**{MATCHING: "Ever", CONTRAST: "Never"}),
        f"item 3: field '{MATCHING}' must be a letter such as (A), not \"Ever\"",
    ),
}
"""A file that can't be read as it is, and the beginning of the line behind its name."""


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("name", NAMED)
def test_what_is_not_plain_names_the_item_and_the_mend(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, content, line = NAMED[name]
    (tmp_path / file).write_bytes(content)
    assert complaint(lambda: Library.open(tmp_path / file).behavior("x")).startswith(f"{tmp_path / file}: {line}")
    assert not caplog.messages
