"""Reports from made-up run folders: what is said, and in which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from comparisons.report import render
from comparisons.report.terminal import rich_table, terminal_table
from comparisons.results.summary import SummaryRow
from comparisons.util.table import Column, Row, Table
from tests.made_runs import CHOICES, PNG, SEVEN, SMALL, against, baseline, cell, failure, make_run, report

EXPECTED = r"""# Changing refusal in pocket

> The embedded model is a rehearsal: no evidence about large models.

## Answer

### To raise refusal: use sft

**+0.31** shift [0.26, 0.36] · **0.020** knowledge cost [0.010, 0.030]

### To lower refusal: use caa

**-0.10** shift [-0.15, -0.05] · **0.020** knowledge cost [0.010, 0.030]

![Shift by method, on what could be reached: refusal](figures/shift.png)

- To raise refusal, sft has the largest shift: +0.31 [0.26, 0.36] at a knowledge cost of 0.020 [0.010, 0.030].
- To lower refusal, caa moved most: -0.10 [-0.15, -0.05] at a knowledge cost of 0.020 [0.010, 0.030].

## What limits this

> refusal: 1 of 50 questions could not be parsed \| as given.

## What was asked

Behaviors: pocket (the embedded model's own language), 50 test questions; knowledge: mmlu.

## Shift

### refusal

50 test questions a cell; knowledge of the baseline on mmlu: 0.950.

| method | direction | p_match [95% CI] | shift [95% CI] | p (Holm) | cost [95% CI] |
| --- | --- | ---: | ---: | ---: | ---: |
| baseline | – | 0.500 [0.450, 0.550] | – | – | – |
| caa | pos | 0.700 [0.650, 0.750] | +0.200 [0.150, 0.250] | 0.012 | +0.020 [0.010, 0.030] |
| caa | neg | 0.400 [0.350, 0.450] | -0.100 [-0.150, -0.050] | 0.012 | +0.020 [0.010, 0.030] |
| sft | pos | 0.810 [0.760, 0.860] | +0.310 [0.260, 0.360] | 0.012 | +0.020 [0.010, 0.030] |
| sft | neg | – | failed | – | – |

<details>
<summary>All columns</summary>

| method | direction | strength | layer | p_match [95% CI] | shift [95% CI] | p | p (Holm) | cost [95% CI] | letter bias | lost mass | anti-steerable |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| baseline | – | – | – | 0.500 [0.450, 0.550] | – | – | – | – | +0.010 | 0.002 | – |
| caa | pos | 1 | 1 | 0.700 [0.650, 0.750] | +0.200 [0.150, 0.250] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| caa | neg | 1 | 1 | 0.400 [0.350, 0.450] | -0.100 [-0.150, -0.050] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| sft | pos | 1 | – | 0.810 [0.760, 0.860] | +0.310 [0.260, 0.360] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| sft | neg | 1 | – | – | failed | – | – | – | – | – | – |

</details>

- sft neg at strength 1 failed: ValueError: the loss is \*nan\* \| step 3

## Shift and cost

Cost is measured on mmlu. Above 0 the behavior rises, below it falls; further left is cheaper.

![Shift against knowledge cost: refusal](figures/cost.png)

## Chosen on dev

Settings were chosen on questions held out from fitting, never on the test questions. The two-sided shift is the mean of the shifts in the directions wanted, at strength 1. Taken is the mildest that reaches nine tenths of the largest: the lowest rate and epoch, the last layer. What takes a fit of its own (sft) was chosen so by pos alone, and neg fitted with that. Not equally many were tried, and more trials find more: caa 3, sft 2.

| behavior | method | chosen | trials | dev questions | two-sided shift |
| --- | --- | --- | ---: | ---: | ---: |
| refusal | caa | layer=1 | 3 | 25 | +0.150 |
| refusal | sft | learning_rate=0.001 | 2 | – | +0.300 |

![Shift on dev by layer: refusal](figures/layers.png)

| sft: tried | refusal |
| --- | ---: |
| learning_rate=0.0001 | pos +0.100 |
| learning_rate=0.001 | +0.300 (chosen) |

## Cost of each method

| behavior | method | direction | strength | fit, s | evaluation, s | peak memory | trainable parameters |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
| refusal | baseline | – | – | 0.0 | 2.2 | 600 MiB | 0 |
| refusal | caa | pos | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
| refusal | caa | neg | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
| refusal | sft | pos | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
"""  # noqa: E501


NAMED = {"a": 0.05, "b": 0.2, "c": 0.24, "d": 0.25}
"""Shifts of four methods."""


class TestMarkdown:
    def test_a_small_run_renders_exactly(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, choices=CHOICES))
        head, tail = text.split("\n## How to read this\n")
        assert head == EXPECTED
        assert "```sh\ncompare run --behavior refusal --methods caa,sft\n```" in tail
        assert tail.endswith(
            "## Provenance\n\n"
            "- model: pocket, 1,234,567 parameters, 3 blocks, width 128\n"
            "- data: pocket\n"
            "- hash of the specification: 0123abcd\n"
            "- settings given: directions pos and neg, strengths 1, orders both\n"
            "- seed: 0\n"
            "- versions: python 3.11.7, torch 2.13.0\n"
            "- machine: system Linux, cores 2\n"
            "- started: 2026-01-01T10:00:00+00:00\n"
            "- ended: 2026-01-01T10:01:00+00:00\n"
        )

    def test_methods_against_each_other_are_a_matrix(self, tmp_path: Path) -> None:
        rows = [baseline(), *(cell(name, "pos", shift) for name, shift in NAMED.items())]
        pairs = [
            against("d", "c", 0.01, "undecided", items_needed=1463, n_items=48),
            against("b", "d", -0.05, "worse"),
            against("b", "c", -0.04, "undecided", simultaneous_ci=None, reason="why"),
        ]
        text = report(make_run(tmp_path, rows, contrasts=pairs))
        found = text.partition("## Methods against each other\n")[2].partition("\n## ")[0]
        assert found.partition("### refusal\n")[2] == (
            "\n"
            "| pos: against | d | c | b |\n"
            "| --- | ---: | ---: | ---: |\n"
            "| d | – | +0.010 [0.000, 0.020] undecided | +0.050 [0.040, 0.060] better |\n"
            "| c | -0.010 [-0.020, 0.000] undecided | – | +0.040 undecided |\n"
            "| b | -0.050 [-0.060, -0.040] worse | -0.040 undecided | – |\n"
            "\n"
            "- d against c: on the 48 of 50 questions that both answered.\n"
            "- d against c: about 1,500 questions would tell; here are 48.\n"
            "- c against b: why.\n"
            "\n"
            "All contrasts, with their own intervals, content and cost: see report.html.\n"
        )
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert "within ±0.02" in page and "+0.050 " in page and "0.060] better" in page

    def test_rendering_again_gives_the_same_bytes(self, tmp_path: Path) -> None:
        folder = make_run(tmp_path, choices=CHOICES)
        found = []
        for _ in range(2):
            render(folder)
            paths = [folder / "report.md", *sorted((folder / "figures").iterdir())]
            found.append([(path.name, path.read_bytes()) for path in paths])
        assert found[0] == found[1]
        assert [name for name, _ in found[0]] == ["report.md", "cost.png", "layers.png", "shift.png"]
        assert all(data.startswith(PNG) and b"IEND" in data[-12:] for name, data in found[0] if name != "report.md")
        assert not any(b"matplotlib" in data.lower() for name, data in found[0] if name != "report.md")

    def test_facts_that_are_missing_are_left_out(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, facts={}))
        assert "Run it again" not in text
        assert "rehearsal" not in text
        assert text.startswith("# Changing refusal in pocket\n\n## Answer")

    def test_without_knowledge_it_says_so_and_draws_no_cost(self, tmp_path: Path) -> None:
        nothing = {"knowledge": None, "knowledge_set": None, "cost": None, "cost_ci": None}
        render(make_run(tmp_path))
        assert (tmp_path / "figures/cost.png").exists()
        text = report(make_run(tmp_path, [replace(row, **nothing) for row in SMALL]))  # type: ignore[arg-type]
        assert "- No knowledge was measured, so nothing is said about cost." in text
        assert "Shift and cost" not in text
        assert "| cost" not in text
        assert not (tmp_path / "figures/cost.png").exists()

    def test_few_questions_are_warned_of(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, [replace(row, n_items=7) for row in SMALL]))
        assert "> Only 7 test questions for refusal: too few for the intervals to mean much." in text
        assert "Only" not in report(make_run(tmp_path, [replace(row, n_items=8) for row in SMALL]))

    def test_a_failed_baseline_leaves_no_number(self, tmp_path: Path) -> None:
        rows = [replace(failure("caa", "pos", "its baseline failed"), cell=f"refusal/caa/pos/{i}") for i in range(2)]
        first = replace(failure("baseline", "pos", "RuntimeError: out of memory"), direction=None, strength=0.0)
        text = report(make_run(tmp_path, [first, *rows]))
        assert "- To raise refusal, there is no result: every cell failed." in text
        assert "- baseline failed: RuntimeError: out of memory" in text
        assert "0.000" not in text

    def test_seven_behaviors_with_many_cells(self, tmp_path: Path) -> None:
        stacks = ("caa", "sft", "sysprompt", "a_method_with_quite_a_long_name+caa")
        rows = []
        for behavior in SEVEN:
            rows.append(baseline(behavior))
            for stack in stacks:
                for strength in (0.5, 1.0, 2.0):
                    for direction, sign in (("pos", 1), ("neg", -1)):
                        key = f"{behavior}/{stack}/{direction}/{strength:g}"
                        shift = sign * 0.1 * strength
                        rows.append(cell(stack, direction, shift, behavior=behavior, strength=strength, cell=key))
        text = report(make_run(tmp_path, rows))
        assert text.startswith("# Changing 7 behaviors in pocket")
        assert all(f"\n### {name}\n" in text for name in SEVEN)
        assert "- To lower sycophancy, caa at strength 2 has the largest shift: -0.20 [-0.25, -0.15]" in text
        images = [line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
        assert len(images) == len(set(images)) == len(list((tmp_path / "figures").iterdir()))
        assert all((tmp_path / image).read_bytes().startswith(PNG) for image in images)

    def test_names_and_errors_cannot_break_a_table(self, tmp_path: Path) -> None:
        rows = [replace(baseline("a|b"), behavior="a|b"), failure("m", "pos", "line\nbreak <b> `x`", "a|b")]
        text = report(make_run(tmp_path, rows))
        assert "### a\\|b" in text
        assert "- m pos at strength 1 failed: line break \\<b> \\`x\\`" in text


def printed(rows: Sequence[SummaryRow], width: int) -> str:
    console = Console(width=width, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(terminal_table(rows, width))
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


class TestTerminal:
    def test_80_columns(self) -> None:
        assert printed(SMALL, 80) == (
            "method    direction  layer  p_match   shift            95% CI  p (Holm)    cost\n"
            "───────────────────────────────────────────────────────────────────────────────\n"
            "baseline  –              –    0.500       –                 –         –       –\n"
            "caa       pos            1    0.700  +0.200    [0.150, 0.250]     0.012  +0.020\n"
            "caa       neg            1    0.400  -0.100  [-0.150, -0.050]     0.012  +0.020\n"
            "sft       pos            –    0.810  +0.310    [0.260, 0.360]     0.012  +0.020\n"
            "sft       neg            –        –  failed                 –         –       –\n"
            "Not shown at this width: strength, p_match's 95% CI, p, cost's 95% CI, letter\n"
            "bias, lost mass, anti-steerable.\n"
            "sft neg at strength 1 failed: ValueError: the loss is *nan* | step 3"
        )

    def test_140_columns(self) -> None:
        head = (
            "method    direction  strength  layer  p_match          95% CI   shift            95% CI       p  p (Holm)"
            "    cost          95% CI"
        )
        line = (
            "caa       neg               1      1    0.400  [0.350, 0.450]  -0.100  [-0.150, -0.050]  <0.001     0.012"
            "  +0.020  [0.010, 0.030]"
        )
        lines = printed(SMALL, 140).splitlines()
        assert lines[0] == head
        assert lines[1] == "─" * len(head)
        assert lines[4] == line
        assert lines[7] == "Not shown at this width: letter bias, lost mass, anti-steerable."

    def test_wide_enough_for_everything(self) -> None:
        text = printed(SMALL, 200)
        assert "anti-steerable" in text.splitlines()[0]
        assert "Not shown" not in text

    @pytest.mark.parametrize("width", [40, 60, 80, 100, 140])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        rows = [*SMALL, baseline("corrigible-neutral-HHH"), cell("sft:pos+caa", "neg", -0.1, behavior=SEVEN[1])]
        lines = printed(rows, width).splitlines()
        assert max(map(len, lines)) <= width

    @pytest.mark.parametrize("width", [40, 80])
    def test_what_does_not_fit_is_named_also_where_all_columns_matter(self, width: int) -> None:
        titles = [f"column {i}" for i in range(12)]
        table = Table(tuple(map(Column, titles)), (Row(tuple("0.123456" for _ in titles), ""),))
        console = Console(width=width, color_system=None, force_terminal=False)
        with console.capture() as capture:
            console.print(rich_table(table, width))
        said = " ".join(capture.get().split())
        assert all(title in said for title in titles) and "Not shown at this width" in said

    def test_several_behaviors_have_headings(self) -> None:
        rows = [*SMALL, baseline("sycophancy"), cell("caa", "pos", 0.2, behavior="sycophancy")]
        lines = printed(rows, 80).splitlines()
        assert [line.split()[0] for line in lines[2:12] if line] == [
            *("refusal", "baseline", "caa", "caa", "sft", "sft", "sycophancy", "baseline", "caa")
        ]
        assert lines[3].startswith("  baseline")
        assert "refusal: sft neg at strength 1 failed" in lines[-2]

    def test_strengths_stay_where_there_are_several(self) -> None:
        rows = [baseline(), cell("caa", "pos", 0.1), cell("caa", "pos", 0.2, strength=2.0, cell="refusal/caa/pos/2")]
        assert "strength" in printed(rows, 60).splitlines()[0]

    def test_settings_tell_equal_stacks_apart(self) -> None:
        rows = [baseline(), cell("caa", "pos", 0.1, cell="refusal/caa[caa.layer=2]/pos/1", varied={"caa.layer": "2"})]
        assert "caa (layer=2)  pos" in printed(rows, 140)
