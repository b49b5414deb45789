"""Reports from made-up run folders: what is said, what is drawn, and that the program in them runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from comparisons.errors import CompareError
from comparisons.intervention import Turn
from comparisons.report import render
from comparisons.report.findings import answer
from comparisons.report.snippet import QUESTION, snippet
from comparisons.report.summary import SummaryRow, read_summary
from comparisons.report.sweep import grids
from comparisons.report.terminal import terminal_table
from tests.tiny import WIDTH, tiny_lm, tiny_tokenizer

PNG = b"\x89PNG\r\n\x1a\n"
SEVEN = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)
FACTS: dict[str, Any] = {
    "digest": "0123abcd",
    "specification": {"strengths": [1.0], "directions": ["pos", "neg"], "orders": "both", "seed": 0},
    "command": "compare run --behavior refusal --methods caa,sft",
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "git_commit": None,
    "machine": {"system": "Linux", "cores": 2},
    "model": {"name": "pocket", "embedded": True, "parameters": 1234567, "blocks": 3, "width": 128},
    "notes": ["refusal: 1 of 50 questions could not be parsed | as given."],
    "started": "2026-01-01T10:00:00+00:00",
    "ended": "2026-01-01T10:01:00+00:00",
}
CHOICES = {
    "choices": [
        {
            "behavior": "refusal",
            "method": "caa",
            "n_items": 25,
            "chosen": {"layer": 1},
            "trials": [
                {"settings": {"layer": 0}, "shift_pos": 0.02, "shift_neg": -0.01, "two_sided": 0.015},
                {"settings": {"layer": 1}, "shift_pos": 0.2, "shift_neg": -0.1, "two_sided": 0.15},
                {"settings": {"layer": 2}, "shift_pos": None, "shift_neg": None, "two_sided": None},
            ],
        },
        {
            "behavior": "refusal",
            "method": "sft",
            "chosen": {"learning_rate": 0.001},
            "trials": [
                {"settings": {"learning_rate": 0.0001}, "shift_pos": 0.1, "two_sided": 0.1},
                {"settings": {"learning_rate": 0.001}, "shift_pos": 0.3, "two_sided": 0.3},
            ],
        },
    ]
}


def baseline(behavior: str = "refusal") -> SummaryRow:
    return SummaryRow(
        model="pocket",
        behavior=behavior,
        cell=f"{behavior}/baseline",
        method="baseline",
        direction=None,
        strength=0.0,
        n_items=50,
        p_match=0.5,
        p_match_ci=[0.45, 0.55],
        letter_bias=0.01,
        lost_mass=0.002,
        knowledge=0.95,
        knowledge_set="mmlu",
        fit_seconds=0.0,
        eval_seconds=2.25,
        peak_memory_bytes=600 * 2**20,
        trainable_parameters=0,
    )


def cell(method: str, direction: str, shift: float, **fields: Any) -> SummaryRow:
    """A cell whose shift has an interval of ±0.05 and whose cost is 0.02 ± 0.01."""
    behavior = fields.get("behavior", "refusal")
    given = {
        "cell": f"{behavior}/{method}/{direction}/1",
        "strength": 1.0,
        "p_match": 0.5 + shift,
        "p_match_ci": [0.45 + shift, 0.55 + shift],
        "shift": shift,
        "shift_ci": [shift - 0.05, shift + 0.05],
        "p_value": 0.00001,
        "p_holm": 0.0123,
        "anti_steerable": 0.08,
        "knowledge": 0.93,
        "cost": 0.02,
        "cost_ci": [0.01, 0.03],
        "fit_seconds": 3.0,
        "peak_memory_bytes": 3 * 2**30,
        "trainable_parameters": 12345,
        **fields,
    }
    return replace(baseline(behavior), method=method, direction=direction, **given)


def failure(method: str, direction: str, error: str, behavior: str = "refusal") -> SummaryRow:
    return SummaryRow(
        model="pocket",
        behavior=behavior,
        cell=f"{behavior}/{method}/{direction}/1",
        method=method,
        direction=direction,
        strength=1.0,
        status="failed",
        error=error,
    )


SMALL = (
    baseline(),
    cell("caa", "pos", 0.2, layer=1),
    cell("caa", "neg", -0.1, layer=1),
    cell("sft", "pos", 0.31),
    failure("sft", "neg", "ValueError: the loss is *nan* | step 3"),
)


def make_run(folder: Path, rows: Sequence[SummaryRow] = SMALL, facts: Mapping[str, Any] = FACTS, **files: Any) -> Path:
    """Writes a run folder; `choices` and `intervention` where given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps({"rows": [asdict(row) for row in rows]}))
    (folder / "run.json").write_text(json.dumps(facts))
    if "choices" in files:
        (folder / "choices.json").write_text(json.dumps(files["choices"]))
    if "intervention" in files:
        (folder / "best").mkdir(exist_ok=True)
        (folder / "best/intervention.json").write_text(json.dumps(files["intervention"]))
    return folder


def report(folder: Path) -> str:
    render(folder)
    return (folder / "report.md").read_text(encoding="utf-8")


EXPECTED = r"""# Changing refusal in pocket

> The embedded model is a rehearsal: small enough to run anywhere, and no evidence about large models.
>
> refusal: 1 of 50 questions could not be parsed \| as given.

## Answer

- To raise refusal, sft moved most: +0.31 [0.26, 0.36] at a knowledge cost of 0.02 [0.01, 0.03]; caa came next, +0.20 [0.15, 0.25] at a knowledge cost of 0.02 [0.01, 0.03].
- To lower refusal, caa moved most: -0.10 [-0.15, -0.05] at a knowledge cost of 0.02 [0.01, 0.03].

## Shift

![Shift by method: refusal](figures/shift.png)

### refusal

50 test questions a cell; knowledge of the baseline on mmlu: 0.950.

| method | direction | strength | layer | p_match [95% CI] | shift [95% CI] | p | p (Holm) | cost [95% CI] | letter bias | lost mass | anti-steerable |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| baseline | – | – | – | 0.500 [0.450, 0.550] | – | – | – | – | +0.010 | 0.002 | – |
| caa | pos | 1 | 1 | 0.700 [0.650, 0.750] | +0.200 [0.150, 0.250] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| caa | neg | 1 | 1 | 0.400 [0.350, 0.450] | -0.100 [-0.150, -0.050] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| sft | pos | 1 | – | 0.810 [0.760, 0.860] | +0.310 [0.260, 0.360] | <0.001 | 0.012 | +0.020 [0.010, 0.030] | +0.010 | 0.002 | 8% |
| sft | neg | 1 | – | – | failed | – | – | – | – | – | – |

- sft neg at strength 1 failed: ValueError: the loss is \*nan\* \| step 3

## Shift and cost

Cost is measured on mmlu. Above 0 the behavior rises, below it falls; further left is cheaper.

![Shift against knowledge cost: refusal](figures/cost.png)

## Chosen on dev

Settings were chosen on questions held out from fitting, never on the test questions. The two-sided shift is the mean of the shifts in the directions wanted, at strength 1.

| behavior | method | chosen | trials | dev questions | two-sided shift |
| --- | --- | --- | ---: | ---: | ---: |
| refusal | caa | layer=1 | 3 | 25 | +0.150 |
| refusal | sft | learning_rate=0.001 | 2 | – | +0.300 |

![Shift on dev by layer: refusal](figures/layers.png)

| sft: tried | refusal |
| --- | ---: |
| learning_rate=0.0001 | +0.100 |
| learning_rate=0.001 | +0.300 (chosen) |

## Cost of each method

| behavior | method | direction | strength | fit, s | evaluation, s | peak memory | trainable parameters |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |
| refusal | baseline | – | – | 0.0 | 2.2 | 600 MiB | 0 |
| refusal | caa | pos | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
| refusal | caa | neg | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
| refusal | sft | pos | 1 | 3.0 | 2.2 | 3.0 GiB | 12,345 |
"""  # noqa: E501


class TestMarkdown:
    def test_a_small_run_renders_exactly(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, choices=CHOICES))
        head, tail = text.split("\n## How to read this\n")
        assert head == EXPECTED
        assert "```sh\ncompare run --behavior refusal --methods caa,sft\n```" in tail
        assert tail.endswith(
            "## Provenance\n\n"
            "- model: pocket, 1,234,567 parameters, 3 blocks, width 128\n"
            "- data: embedded\n"
            "- hash of the specification: 0123abcd\n"
            "- settings given: directions pos and neg, strengths 1, orders both\n"
            "- seed: 0\n"
            "- versions: python 3.11.7, torch 2.13.0\n"
            "- machine: system Linux, cores 2\n"
            "- started: 2026-01-01T10:00:00+00:00\n"
            "- ended: 2026-01-01T10:01:00+00:00\n"
        )

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
        assert "- To lower sycophancy, caa at strength 2 moved most: -0.20 [-0.25, -0.15]" in text
        images = [line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
        assert len(images) == len(set(images)) == len(list((tmp_path / "figures").iterdir()))
        assert all((tmp_path / image).read_bytes().startswith(PNG) for image in images)

    def test_names_and_errors_cannot_break_a_table(self, tmp_path: Path) -> None:
        rows = [replace(baseline("a|b"), behavior="a|b"), failure("m", "pos", "line\nbreak <b> `x`", "a|b")]
        text = report(make_run(tmp_path, rows))
        assert "### a\\|b" in text
        assert "- m pos at strength 1 failed: line break \\<b> \\`x\\`" in text


class TestAnswer:
    def test_an_interval_that_holds_0_is_no_movement(self) -> None:
        found = answer([baseline(), cell("caa", "pos", 0.03), cell("sft", "pos", 0.04)], "pos")
        expected = "To raise refusal, no method moved it measurably; the furthest was sft, +0.04 [-0.01, 0.09]."
        assert found == expected

    def test_a_measurable_method_stands_before_a_larger_unclear_one(self) -> None:
        unclear = cell("sft", "pos", 0.3, shift_ci=[-0.1, 0.7])
        found = answer([baseline(), unclear, cell("caa", "pos", 0.1)], "pos")
        assert found is not None
        assert "caa moved most: +0.10 [0.05, 0.15]" in found
        assert "sft came next, not measurably, +0.30 [-0.10, 0.70]" in found

    def test_a_bound_near_0_is_not_rounded_onto_it(self) -> None:
        found = answer(
            [baseline(), cell("caa", "neg", -0.02, shift_ci=[-0.04, -0.002], cost=None, cost_ci=None)], "neg"
        )
        assert found == "To lower refusal, caa moved most: -0.020 [-0.040, -0.002]."

    def test_a_number_near_0_has_no_lone_sign(self) -> None:
        assert "-0.000" not in printed([baseline(), cell("caa", "neg", -0.0001, letter_bias=-0.0001)], 200)

    def test_a_cost_that_is_unclear_is_called_so(self) -> None:
        found = answer([baseline(), cell("caa", "pos", 0.1, cost=0.01, cost_ci=[-0.02, 0.04])], "pos")
        assert found is not None
        assert found.endswith("at a knowledge cost that can't be told from 0 (0.01 [-0.02, 0.04]).")

    def test_the_correction_is_named_where_it_takes_the_result_back(self) -> None:
        found = answer([baseline(), cell("caa", "pos", 0.1, p_holm=0.21)], "pos")
        assert found is not None
        assert found.endswith("Corrected for all comparisons of this run it is not significant (p = 0.21).")

    def test_a_vector_that_does_no_more_than_random_ones_is_called_so(self) -> None:
        ranked = {"random_shifts": [-0.1, 0.0, 0.12], "n_random": 199}
        found = answer([baseline(), cell("caa", "pos", 0.1, random_rank_p=0.115, **ranked)], "pos")
        assert found is not None
        assert found.endswith(" Random directions of its vector's norm move it as far (p = 0.12).")
        found = answer([baseline(), cell("caa", "pos", 0.1, random_rank_p=0.005, **ranked)], "pos")
        assert found is not None and "Random" not in found

    def test_a_control_that_moves_is_said_and_does_not_win(self, tmp_path: Path) -> None:
        rows = [baseline(), cell("caa", "pos", 0.1), cell("noise", "pos", 0.4, control=True)]
        found = answer(rows, "pos")
        assert found is not None and "caa moved most" in found and "noise" not in found
        text = report(make_run(tmp_path, rows))
        line = "- Controls, which are meant to do nothing, moved refusal measurably: noise pos at strength 1, +0.40"
        assert line in text
        assert "| noise (control) | pos |" in text

    def test_warnings_are_footnotes_of_the_number(self, tmp_path: Path) -> None:
        rows = [replace(baseline(), warnings=("few",)), cell("caa", "pos", 0.1, warnings=("few", "one letter"))]
        text = report(make_run(tmp_path, rows))
        assert "| baseline | – | – | 0.500 ¹ [0.450, 0.550] |" in text
        assert "| +0.100 ¹,² [0.050, 0.150] |" in text
        assert "- ¹ few\n- ² one letter" in text

    def test_a_broken_cell_does_not_win(self, tmp_path: Path) -> None:
        rows = [baseline(), cell("caa", "pos", 0.1), cell("sft", "pos", 0.4, lost_mass=0.9)]
        found = answer(rows, "pos")
        assert found is not None
        assert "caa moved most" in found
        assert "sft" not in found
        text = report(make_run(tmp_path, rows))
        assert "| sft | pos | 1 | 0.900 [0.850, 0.950] | broken (lost mass .90) | – | – |" in text
        assert "- Broken cells put more than half of the probability on something other than the two letters" in text
        assert "0.400" not in text

    def test_moving_the_wrong_way_is_said(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, [baseline(), cell("caa", "pos", -0.2)]))
        assert "no method moved it measurably" in text
        assert "- Moved refusal measurably the wrong way: caa pos at strength 1, -0.20 [-0.25, -0.15]." in text

    def test_overlapping_intervals_are_said(self) -> None:
        found = answer([baseline(), cell("caa", "pos", 0.2), cell("sft", "pos", 0.25)], "pos")
        assert found is not None
        assert found.endswith("; the two intervals overlap.")


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
        rows = [baseline(), cell("caa", "pos", 0.1, cell="refusal/caa[caa.layer=2]/pos/1")]
        assert "caa (layer=2)  pos" in printed(rows, 140)


class TestReading:
    def complaint(self, folder: Path) -> str:
        with pytest.raises(CompareError) as raised:
            render(folder)
        message = str(raised.value)
        assert "\n" not in message
        return message

    def test_rows_survive_the_round_trip(self, tmp_path: Path) -> None:
        assert read_summary(make_run(tmp_path)).rows == SMALL

    def test_a_folder_that_is_missing_no_run_or_unfinished(self, tmp_path: Path) -> None:
        assert "name a folder that `compare run` has written" in self.complaint(tmp_path / "nowhere")
        assert "is not a run" in self.complaint(tmp_path)
        (tmp_path / "run.json").write_text("{}")
        assert "has not ended" in self.complaint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("summary.json", '{"rows": ['),
            ("summary.json", "[]"),
            ("summary.json", '{"rows": []}'),
            ("run.json", "nonsense"),
            ("run.json", "[]"),
            ("choices.json", '{"choices": 3}'),
            ("choices.json", '{"choices": [{"behavior": "refusal"}]}'),
        ],
    )
    def test_a_broken_file_is_named(self, tmp_path: Path, name: str, text: str) -> None:
        make_run(tmp_path)
        (tmp_path / name).write_text(text)
        assert name in self.complaint(tmp_path)
        assert not (tmp_path / "report.md").exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("shift", float("nan")),
            ("shift", "0.3"),
            ("shift_ci", [0.1]),
            ("layer", 1.5),
            ("status", "fine"),
            ("direction", "up"),
            ("behavior", None),
            ("odd", 1),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, field: str, value: Any) -> None:
        make_run(tmp_path)
        rows = [asdict(row) for row in SMALL]
        rows[1][field] = value
        (tmp_path / "summary.json").write_text(json.dumps({"rows": rows}))
        message = self.complaint(tmp_path)
        assert "row 2" in message
        assert f"'{field}'" in message

    def test_rendering_loads_neither_torch_nor_transformers(self, tmp_path: Path) -> None:
        code = (
            "import sys; from pathlib import Path; import comparisons.report, comparisons.report.terminal\n"
            "assert not {'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules)\n"
            f"comparisons.report.render(Path({str(make_run(tmp_path, choices=CHOICES, intervention=PLAIN))!r}))\n"
            "assert not {'torch', 'transformers', 'matplotlib.pyplot'} & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


PLAIN: dict[str, Any] = {
    "cell": "refusal/caa/pos/1",
    "model": "some/model",
    "prompt_format": "chat",
    "system": None,
    "adapter": None,
    "adapter_scale": 1.0,
    "edits": [{"layer": 2, "multiplier": 1.5, "operation": "add", "positions": "prompt_end", "tensor": "edit0"}],
}
TURNS = [['Is it "late"?', "It isn't."], ["Is it late?", "No."]]


TOKENS = 12


def save_model(folder: Path) -> Any:
    """A tiny random Llama on disk, as a user has one."""
    lm = tiny_lm()
    lm.model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return lm


def save_edit(run: Path, scale: float = 4.0) -> Any:
    import torch
    from safetensors.torch import save_file

    vector = scale * torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))
    save_file({"edit0": vector}, run / "best/edits.safetensors")
    return vector


def save_adapter(run: Path, lm: Any) -> Path:
    import copy

    import torch
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(copy.deepcopy(lm.model), config).save_pretrained(run / "best/adapter")
    return run / "best/adapter"


def greedy(lm: Any, prompt: str, vector: Any, multiplier: float, layer: int = 2, tokens: int = TOKENS) -> str:
    """Generation the slow way: no cache, one full pass a token, the edit from the last prompt token on."""
    import torch

    ids = lm.tokenize(prompt)
    first = len(ids) - 1

    def steer(module: Any, args: Any, output: Any) -> Any:
        return torch.cat([output[:, :first], output[:, first:] + multiplier * vector], dim=1)

    handle = lm.blocks[layer].register_forward_hook(steer)
    try:
        for _ in range(tokens):
            with torch.no_grad():
                token = int(lm.model(torch.tensor([ids])).logits[0, -1].argmax())
            ids.append(token)
            if token == lm.tokenizer.eos_token_id:
                break
    finally:
        handle.remove()
    return str(lm.tokenizer.decode(ids[first + 1 :], skip_special_tokens=True))


def execute(run: Path, program: str) -> str:
    """Runs a program from the run's folder, in a process of its own; its answer is cut to a few tokens."""
    shorter = program.replace("max_new_tokens=64", f"max_new_tokens={TOKENS}")
    command = [sys.executable, "-X", "utf8", "-c", shorter]
    done = subprocess.run(command, cwd=run, capture_output=True, encoding="utf-8", timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestSnippet:
    @pytest.mark.slow
    def test_the_program_in_the_report_does_what_the_intervention_says(self, tmp_path: Path) -> None:
        from comparisons.engine.adapters import adapted

        lm = save_model(tmp_path / "model")
        system = "You say yes to whatever the user asks, and you are glad to help. " * 2
        intervention = {
            **PLAIN,
            "model": str(tmp_path / "model"),
            "blocks": "model.layers",
            "system": system,
            "adapter": "adapter",
            "adapter_scale": 0.5,
        }
        run = make_run(tmp_path / "run", intervention=intervention)
        vector, adapter = save_edit(run), save_adapter(run, lm)
        program = report(run).split("```python\n")[1].split("```")[0]
        assert len(program.splitlines()) <= 42
        found = execute(run, program)

        prompt = lm.prompt(QUESTION, system)
        with adapted(lm, adapter, 0.5):
            assert found == greedy(lm, prompt, vector, 1.5) + "\n"
            assert found != greedy(lm, prompt, vector, 0.0) + "\n"
        assert found != greedy(lm, prompt, vector, 1.5) + "\n"

    def test_a_vector_alone_takes_few_lines_and_changes_the_answer(self, tmp_path: Path) -> None:
        lm = save_model(tmp_path / "model")
        run = make_run(tmp_path / "run", intervention={**PLAIN, "model": str(tmp_path / "model")})
        vector = save_edit(run)
        program = snippet({**PLAIN, "model": str(tmp_path / "model")})
        assert program is not None
        assert len(program.splitlines()) <= 35
        assert "peft" not in program
        found = execute(run, program)
        assert found == greedy(lm, lm.prompt(QUESTION), vector, 1.5) + "\n"
        assert found != greedy(lm, lm.prompt(QUESTION), vector, 0.0) + "\n"

    @pytest.mark.parametrize("prompt_format", ["chat", "base", "llama2-paper"])
    @pytest.mark.parametrize("system", [None, 'Say "yes".\nIt\'s what\tthe user wants. ' * 5])
    @pytest.mark.parametrize("turns", [[], TURNS])
    def test_prompts_are_tokenized_as_in_the_run(
        self, prompt_format: Any, system: str | None, turns: list[list[str]]
    ) -> None:
        lm = tiny_lm(prompt_format=prompt_format)
        given = {**PLAIN, "prompt_format": prompt_format, "system": system, "examples": turns, "edits": []}
        program = snippet(given)
        assert program is not None
        lines = program.splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith(("messages", "before")))
        end = next(i for i, line in enumerate(lines) if line.startswith("inputs = "))
        scope: dict[str, Any] = {"tokenizer": lm.tokenizer, "device": "cpu"}
        exec("\n".join(lines[start : end + 1]), scope)
        expected = lm.tokenize(lm.prompt(QUESTION, system, [Turn(*turn) for turn in turns]))
        assert scope["inputs"]["input_ids"][0].tolist() == expected

    @pytest.mark.parametrize("change", [{"positions": "response_first:2"}, {"operation": "ablate"}])
    def test_what_a_short_program_cannot_do_is_said(self, tmp_path: Path, change: dict[str, str]) -> None:
        intervention = {**PLAIN, "edits": [{**PLAIN["edits"][0], **change}]}
        assert snippet(intervention) is None
        text = report(make_run(tmp_path, intervention=intervention))
        assert "a short program can't show its edits" in text
        assert "```python" not in text


def swept(shifts: Mapping[tuple[int, float], float], method: str = "caa", **fields: Any) -> tuple[SummaryRow, ...]:
    """Cells of a sweep from (layer, multiplier) -> shift."""
    rows = [baseline()]
    for (layer, times), shift in shifts.items():
        direction = "pos" if times > 0 else "neg"
        key = f"refusal/{method}[{method.split('+')[-1]}.layer={layer}]/{direction}/{abs(times):g}"
        rows.append(cell(method, direction, shift, cell=key, strength=abs(times), layer=layer, **fields))
    return tuple(rows)


SHIFTS = {(0, 1.0): 0.1, (0, -1.0): -0.3, (1, 1.0): 0.2, (1, -1.0): -0.25, (0, 2.0): 0.4, (1, 2.0): 0.15}


def sweep_facts(**given: Any) -> dict[str, Any]:
    typed = {"layers": [0, 1], "split": "dev", "model": "pocket", **given}
    return {**FACTS, "specification": {**FACTS["specification"], **typed}}


def test_a_sweep_shows_its_best_settings_and_how_to_confirm_them(tmp_path: Path) -> None:
    found = report(
        make_run(tmp_path, swept(SHIFTS), sweep_facts(orders="given", settings={"caa": {"fit_on": ["stack"]}}))
    )
    best = found.split("## Best settings")[1].split("###")[0]
    lines = [line for line in best.splitlines() if line.startswith("| refusal")]
    assert [line.split(" | ")[2:5] for line in lines[:-1]] == [
        ["pos", "0", "2"],
        ["pos", "1", "1"],
        ["pos", "1", "2"],
        ["neg", "0", "1"],
        ["neg", "1", "1"],
    ]
    # Both ways: (0.2 + 0.25) / 2 at layer 1 against (0.1 + 0.3) / 2 at layer 0.
    assert lines[-1] == "| refusal | caa | 1 | 1 | +0.200 [0.150, 0.250] | -0.250 [-0.300, -0.200] | +0.225 |"
    command = (
        "compare run --behavior refusal --methods caa --layer 1 --strengths 1 --orders given --set caa.fit_on=stack"
    )
    assert f"```sh\n{command}\n```" in found
    assert "optimistic" in found and "dev split" in found


def test_a_sweep_in_one_direction_confirms_its_best(tmp_path: Path) -> None:
    up = {place: shift for place, shift in SHIFTS.items() if place[1] > 0}
    found = report(make_run(tmp_path, swept(up), sweep_facts(directions=["pos"], model="org/name") | {"model": {}}))
    assert "--layer 0 --strengths 2 --directions pos --model org/name\n" in found
    assert "two-sided" not in found


def test_a_setting_that_no_longer_answers_is_no_best_one(tmp_path: Path) -> None:
    rows = swept(SHIFTS)
    rows = tuple(replace(row, lost_mass=0.9) if row.strength == 2 else row for row in rows)
    found = report(make_run(tmp_path / "some", rows, sweep_facts()))
    assert "To raise refusal, caa at layer 1 and strength 1 moved most of 4 cells" in found
    everything = report(make_run(tmp_path / "all", swept(SHIFTS, lost_mass=0.9), sweep_facts()))
    assert "no cell is usable" in everything and "its shift says little" in everything
    assert "Confirm on test" not in everything


@pytest.mark.parametrize(("layers", "strengths", "behaviors"), [(1, 1, 1), (2, 9, 1), (12, 1, 7), (40, 12, 2)])
def test_maps_and_curves_of_any_size_are_drawn_and_stale_ones_removed(
    layers: int, strengths: int, behaviors: int, tmp_path: Path
) -> None:
    rows: list[SummaryRow] = []
    shifts = {(layer, side * (s + 1) / 2): side * 0.01 * s for layer in range(layers) for s in range(strengths)
              for side in (-1, 1)}  # fmt: skip
    for name in SEVEN[:behaviors]:
        mine = [replace(r, behavior=name, cell=r.cell.replace("refusal", name, 1)) for r in swept(shifts)]
        mine[1] = replace(failure("caa", "neg", "ValueError: no", name), cell=mine[1].cell, strength=mine[1].strength)
        rows += mine
    folder = make_run(tmp_path, rows, sweep_facts())
    (folder / "figures").mkdir()
    for stale in ("shift.png", "sweep-9.png"):
        (folder / "figures" / stale).write_bytes(PNG)
    text = report(folder)
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"sweep.png", "sweep-layers.png", "sweep-cost.png"} <= drawn
    assert not drawn & {"shift.png", "sweep-9.png"}
    assert all(f"(figures/{name})" in text for name in drawn)
    assert len(grids(read_summary(folder))) == behaviors


def test_the_layer_of_a_sweeps_cell_is_read_from_its_key() -> None:
    row = replace(cell("push+caa", "pos", 0.1), cell="refusal/push+caa[push.layer=1,caa.layer=2,caa.fit_on=base]/pos/1")
    assert (row.swept_layer, row.series) == (2, "push+caa (push.layer=1, caa.fit_on=base)")
    assert (baseline().swept_layer, baseline().series) == (None, "baseline")
