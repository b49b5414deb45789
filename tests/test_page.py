"""report.html: sound, escaped and self-contained as text, and at work in a real browser."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparisons.report import render
from comparisons.report.markdown import escaped
from comparisons.report.templating import inline, sort_value
from comparisons.results.summary import SummaryRow
from tests.made_runs import (
    CHOICES,
    FACTS,
    PLAIN,
    SMALL,
    baseline,
    cell,
    failure,
    make_run,
    sweep_facts,
    swept,
)

VOID = {"meta", "input", "br"}
TAGS = {
    *("html", "head", "title", "style", "body", "script", "a", "nav", "main", "section", "div", "p", "h1", "h2", "h3"),
    *("ul", "li", "span", "small", "strong", "em", "code", "pre", "form", "label", "select", "option", "output"),
    *("details", "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "g", "path", "defs", "use", "text", "tspan", "clippath", "rect", "pattern", "image"),
    *VOID,
}
"""All that a page is made of: any other tag came in with a text."""

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;</style>"


class Parsed(HTMLParser):
    """Elements with their attributes, whether they close in order, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.script = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.script += data
        elif self.open and self.open[-1] != "style":
            self.text += data

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


def page(folder: Path) -> str:
    render(folder)
    return (folder / "report.html").read_text(encoding="utf-8")


def both(behavior: str, method: str, shift: float, **fields: Any) -> list[SummaryRow]:
    return [
        cell(method, direction, sign * shift, behavior=behavior, cell=f"{behavior}/{method}/{direction}/1", **fields)
        for direction, sign in (("pos", 1), ("neg", -1))
    ]


def two_behaviors() -> list[SummaryRow]:
    effects = {"side_effects": {"sycophancy": {"shift": 0.02, "ci": [0.01, 0.03]}}}
    return [
        replace(SMALL[0], same_letter=0.9),  # a limit, which stands above one verdict
        *both("refusal", "caa", 0.2, layer=1, **effects),
        *both("refusal", "sft", 0.31, letter_bias=-0.02),
        failure("sysprompt", "pos", "ValueError: no"),
        baseline("sycophancy"),
        *both("sycophancy", "caa", 0.05, layer=1),
        *both("sycophancy", "sft", 0.11),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two behaviors, rendered."""
    folder = make_run(tmp_path_factory.mktemp("page") / "run", two_behaviors(), choices=CHOICES, intervention=PLAIN)
    render(folder)
    return folder


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return (run / "report.html").read_text(encoding="utf-8")


class TestStructure:
    def test_it_is_a_sound_document_with_an_outline(self, text: str) -> None:
        found = Parsed(text)
        assert text.startswith("<!DOCTYPE html>") and not found.open
        assert found.of("html") == [{"lang": "en"}]
        levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        assert len(found.of("main")) == len(found.of("nav")) == 1

    def test_ids_are_unique_and_everything_referred_to_is_there(self, text: str) -> None:
        found = Parsed(text)
        ids = Counter(str(a["id"]) for _, a in found.elements if "id" in a)
        assert max(ids.values()) == 1
        for _, attributes in found.elements:
            for name, value in attributes.items():
                used = re.findall(r"url\(#([^)]+)\)", value or "")
                used += [value[1:]] if name == "href" and value and value.startswith("#") else []
                used += [value] if name == "aria-labelledby" and value else []
                assert set(used) <= set(ids), (name, value)

    def test_tables_and_charts_can_be_read_without_eyes(self, text: str) -> None:
        found = Parsed(text)
        assert len(found.of("table")) == len(found.of("caption")) > 5
        assert all(a.get("scope") in ("col", "row") for a in found.of("th"))
        rows, heads = len(found.of("tr")), [a["scope"] for a in found.of("th")]
        assert heads.count("row") == rows - len(found.of("table"))
        regions = [a for a in found.of("div") if a.get("role") == "group"]
        assert len(regions) == len(found.of("table"))
        assert all(a["aria-label"] and a["tabindex"] == "0" for a in regions)
        drawn = [a for a in found.of("svg") if a.get("class") == "chart"]
        assert all(a["role"] == "img" and a["aria-label"] for a in drawn)
        assert all(a.get("aria-hidden") == "true" for a in found.of("svg") if a not in drawn)
        # Two behaviors' costs, the choice of a layer, and a matrix for each method and direction.
        assert len(drawn) == 2 + 1 + 5
        # The shifts are lists, one a behavior and direction, with a line a method.
        bars = [a for a in found.of("ul") if str(a.get("class")).startswith("bars")]
        assert [a["aria-label"] for a in bars] == [
            f"{name}, {wanted}" for name in ("refusal", "sycophancy") for wanted in ("more (pos)", "less (neg)")
        ]

    def test_it_has_the_rows_and_the_notes_of_the_markdown(self, run: Path, text: str) -> None:
        # A wide table stands twice in the Markdown: its columns that matter most, and all.
        lines = re.sub(r"(?s)<details>.*?</details>", "", (run / "report.md").read_text(encoding="utf-8")).splitlines()
        assert len(re.findall("<tr[ >]", text)) == sum(line.startswith("| ") and "---" not in line for line in lines)
        found = Parsed(text).text
        plain = " ".join(found.split())
        for line in lines:
            if line.startswith("#") or (line.startswith("- ") and not set(line) & set("`*\\")):
                assert line.lstrip("#- ").strip() in plain.replace("\u00a0", " ")

    def test_marks_are_html_and_what_comes_from_outside_is_text(self) -> None:
        assert inline(r"**a \*b**, *c* and `d <e>` \<f>") == (
            "<strong>a *b</strong>, <em>c</em> and <code>d &lt;e&gt;</code> &lt;f&gt;"
        )

    @given(st.text(st.sampled_from("ab \\`*|<>_&\"'\n!/1é")))
    def test_an_escaped_text_is_shown_as_it_is(self, text: str) -> None:
        shown = inline(escaped(text))
        assert unescape(shown) == " ".join(text.split()) and not set(shown) & set("<>\"'")

    @pytest.mark.parametrize(
        ("cell", "value"),
        [
            ("+0.310", 0.31),
            ("-0.100 ¹,²", -0.1),
            ("<0.001", 0.001),
            ("12,345", 12345),
            ("8%", 0.08),
            ("600 MiB", 600 * 2**20),
            ("3.0 GiB", 3 * 2**30),
            ("(+0.200*)", 0.2),
            ("+0.457 [0.010] (chosen)", 0.457),
            ("–", None),
            ("failed", None),
            ("4bit", None),
            ("broken (lost mass .90)", None),
        ],
    )
    def test_a_cell_is_sorted_by_its_number(self, cell: str, value: float | None) -> None:
        assert sort_value(cell) == value


class TestSafety:
    def test_names_errors_and_commands_are_text(self, tmp_path: Path) -> None:
        rows = [
            replace(baseline(HOSTILE), behavior=HOSTILE),
            cell(HOSTILE, "pos", 0.2, behavior=HOSTILE, warnings=(HOSTILE,)),
            failure("caa", "neg", HOSTILE, HOSTILE),
        ]
        facts = {**FACTS, "command": f"compare run --behavior '{HOSTILE}'", "notes": [HOSTILE], "git_commit": HOSTILE}
        intervention = {**PLAIN, "cell": HOSTILE, "model": HOSTILE, "system": HOSTILE}
        found = Parsed(page(make_run(tmp_path, rows, facts, intervention=intervention)))
        assert {tag for tag, _ in found.elements} <= TAGS
        assert len(found.of("script")) == len(found.of("style")) == 1
        assert not [name for _, attributes in found.elements for name in attributes if name.startswith("on")]
        assert found.text.count("<script>alert(1)</script>") >= 10

    def test_nothing_is_loaded_and_only_its_own_script_runs(self, text: str) -> None:
        found = Parsed(text)
        for _, attributes in found.elements:
            assert "src" not in attributes
            assert (attributes.get("href") or "#").startswith(("#", "data:image/png;base64,"))
        assert not re.search(r"https?://|@import|url\((?!#)", text)
        policy = next(a["content"] for a in found.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
        assert policy is not None and policy.startswith("default-src 'none';")
        digest = base64.b64encode(hashlib.sha256(found.script.encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}'" in policy and "script-src 'unsafe" not in policy

    def test_the_same_run_gives_the_same_bytes(self, run: Path, text: str) -> None:
        assert page(run) == text

    def test_many_cells_make_no_heavy_page(self, tmp_path: Path) -> None:
        doses = [side * (1 + step) / 2 for step in range(6) for side in (-1, 1)]
        shifts = {(layer, dose): 0.01 * dose * layer for layer in range(40) for dose in doses}
        assert len(page(make_run(tmp_path, swept(shifts), sweep_facts()))) < 1e6
