"""The sentences of the answer claim no more than the numbers do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from comparisons.report.bars import reach_panels
from comparisons.report.evidence import evidence
from comparisons.results.findings import answer, single_fits
from comparisons.results.gates import verdicts
from comparisons.results.schema import Contrast
from comparisons.results.summary import Summary, SummaryRow
from tests.made_runs import PLAIN, against, baseline, cell, make_run, report
from tests.test_report import NAMED, printed

COSTLY = {
    "difference": 0.05,
    "ci": [0.03, 0.07],
    "simultaneous_ci": [0.02, 0.08],
    "p_adjusted": 0.01,
    "verdict": "worse",
    "n_items": 57,
    "n_clusters": 57,
}


class TestAnswer:
    def test_an_interval_that_holds_0_is_no_movement(self) -> None:
        found = answer([baseline(), cell("caa", "pos", 0.03), cell("sft", "pos", 0.04)], "pos")
        expected = (
            "To raise refusal, no method moved it that way measurably; the furthest was sft, +0.04 [-0.01, 0.09]."
        )
        assert found == expected

    def test_a_measurable_method_stands_before_a_larger_unclear_one(self) -> None:
        unclear = cell("sft", "pos", 0.3, shift_ci=[-0.1, 0.7])
        found = answer([baseline(), unclear, cell("caa", "pos", 0.1)], "pos")
        assert found is not None
        assert "caa moved surely: +0.10 [0.05, 0.15]" in found
        found = answer(
            [baseline(), unclear, cell("caa", "pos", 0.1)], "pos", [against("caa", "sft", -0.2, "undecided")]
        )
        assert found is not None and "caa moved surely: +0.10 [0.05, 0.15]" in found
        assert found.endswith("; undecided against sft (-0.20 [-0.21, -0.19]).")

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
        assert found.endswith("at a knowledge cost that can't be told from 0 (0.010 [-0.020, 0.040]).")

    def test_a_cost_below_0_is_shown_as_the_gain_that_it_is(self, tmp_path: Path) -> None:
        text = report(make_run(tmp_path, [baseline(), cell("caa", "pos", 0.1, cost=-0.047, cost_ci=[-0.113, 0.02])]))
        assert "**+0.10** shift [0.05, 0.15] · **0.047** knowledge gained [-0.020, 0.113]" in text

    def test_of_a_method_that_draws_at_random_it_is_said_which_fit_is_meant(self) -> None:
        errors = {"deviation": None, "question_error": 0.02, "seed_error": None}
        once = cell("sft", "pos", 0.2, cost=None, cost_ci=None, fits={"seeds": [0], "shifts": [0.2], **errors})
        caa = cell("caa", "pos", 0.1)
        versus = [against("sft", "caa", 0.1, "better")]
        found = answer([baseline(), once, caa], "pos", versus)
        assert found is not None and found.startswith(
            "To raise refusal, sft (this fit) moved most: +0.20 [0.15, 0.25];"
        )
        assert single_fits([baseline(), once, caa]) == (
            "This fit: what draws at random (sft) was fitted once, so nothing is known of other seeds; --seeds 3 "
            "fits it anew and puts what seeds add into the intervals."
        )
        fits = {"seeds": [0, 1, 2], "shifts": [0.19, 0.2, 0.21], "deviation": 0.0084, "question_error": 0.0054}
        several = cell("sft", "pos", 0.2, cost=None, cost_ci=None, fits={**fits, "seed_error": 0.0048})
        assert single_fits([baseline(), several, caa]) is None
        assert "sft (3 fits) moved most" in (answer([baseline(), several, caa], "pos", versus) or "")
        lines = [str(line) for line in evidence([several])]
        assert any("+0.190 +0.200 +0.210" in line and "0.0084" in line and "0.0048" in line for line in lines)
        assert not any("Each fit's shift" in str(line) for line in evidence([once]))

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

    def test_what_no_control_is_shown_to_do_less_of_is_said(self) -> None:
        rows = [baseline(), cell("caa", "pos", 0.1), cell("noise", "pos", 0.08, control=True)]
        near, clear = against("caa", "noise", 0.005, "undecided"), against("caa", "noise", 0.05, "better")
        found = answer(rows, "pos", [near])
        assert found is not None
        assert found.endswith("; not shown to go further than the control noise (+0.01 [-0.01, 0.01]).")
        (verdict,) = verdicts(rows, [near])
        assert verdict.text == "use caa; not shown to go further than the control noise"
        assert "noise" not in (answer(rows, "pos", [clear]) or "noise") + verdicts(rows, [clear])[0].text
        doubled = cell("noise", "pos", 0.08, strength=2.0, control=True)
        assert verdicts([*rows[:2], doubled], [{**near, "b": doubled.cell}])[0].text == "use caa"

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
        assert "no method moved it that way measurably" in text
        assert "- Moved refusal measurably the wrong way: caa pos at strength 1, -0.20 [-0.25, -0.15]." in text

    def test_methods_are_told_apart_by_their_contrasts_and_by_nothing_else(self) -> None:
        rows = [baseline(), *(cell(name, "pos", shift) for name, shift in NAMED.items())]
        assert (answer(rows, "pos") or "").startswith("To raise refusal, d has the largest shift: +0.25 [0.20, 0.30]")
        won = [against("d", "a", 0.2, "better"), against("b", "d", -0.05, "worse")]
        found = answer([*rows[:3], rows[4]], "pos", won)
        assert found is not None and found.endswith("; further than b by +0.05 [0.04, 0.06], a by +0.20 [0.19, 0.21].")
        assert "d moved most" in found
        open_ = [
            against("c", "d", -0.01, "undecided", items_needed=1463),
            against("d", "b", 0.05, "undecided", reason="why"),
        ]
        alike = against("d", "a", 0.001, "equivalent", ci=[0.0005, 0.0015], margin=0.03, cost=COSTLY)
        found = answer(rows, "pos", [*open_, alike])
        assert found is not None and "d has the largest shift: +0.25" in found
        assert "; equivalent within 0.03: a (+0.001 [0.001, 0.002]; it costs less)" in found
        assert found.endswith(
            "; undecided against c (+0.010 [0.000, 0.020], about 1,500 questions would tell), b (why)."
        )

    def test_a_sentence_goes_by_the_interval_over_all_cells(self, tmp_path: Path) -> None:
        wide = {"n_clusters": 50, "shift_band": [-0.01, 0.41]}
        found = answer([baseline(), cell("caa", "pos", 0.2, **wide)], "pos")
        assert (
            found
            == "To raise refusal, no method moved it that way measurably; the furthest was caa, +0.20 [-0.01, 0.41]."
        )
        text = report(make_run(tmp_path, [baseline(), cell("caa", "neg", 0.2, **wide)]))
        assert "wrong way" not in text.partition("## Shift")[0]
        few = cell("caa", "pos", 0.2, n_clusters=5, shift_band=None)
        found = answer([baseline(), few], "pos")
        assert found is not None and "the furthest was caa, +0.20 (no interval)." in found
        text = report(make_run(tmp_path, [baseline(), few]))
        assert "50 questions of 5 templates, which are 5 clusters: under 6 there is no interval." in text
        assert "50 test questions a cell, 5 clusters;" in text


def test_the_verdict_names_what_to_use_by_contrasts() -> None:
    rows = [baseline(), *(cell(name, "pos", shift) for name, shift in NAMED.items())]
    won = [against("d", name, 0.1, "better") for name in "abc"]

    def said(contrasts: Sequence[Contrast], cells: Sequence[SummaryRow] = rows) -> str:
        (verdict,) = verdicts(cells, contrasts)
        assert verdict.aim == "To raise refusal"
        return verdict.text

    assert said(won) == "use d"
    assert said([won[0], won[1], against("d", "c", 0.01, "equivalent")]) == "use d or c"
    assert said([won[0], won[1], against("c", "d", -0.01, "undecided")]) == "use d; undecided against c"
    # Equivalent to one that moved, and still not shown to move itself.
    still = [replace(row, shift_ci=[-0.1, 0.3]) if row.name == "a" else row for row in rows]
    assert said([*won[1:], against("d", "a", 0.01, "equivalent")], still) == "use d"
    dear = [replace(row, cost=0.12, cost_ci=[0.08, 0.16]) if row.name == "d" else row for row in rows]
    assert said(won, dear) == "use d, at a knowledge cost of 0.12"
    unclear = [rows[0], cell("caa", "pos", 0.03)]
    assert said([], unclear) == "use none of these: nothing moved it that way measurably"
    small = [rows[0], cell("caa", "pos", 0.01, shift_ci=[0.005, 0.015])]
    assert said([], small) == "use caa, though it moves it by less than 0.02"
    doubted = [rows[0], cell("caa", "pos", 0.2, random_rank_p=0.4, random_shifts=[-0.3, 0.0, 0.3], n_random=199)]
    assert said([], doubted) == "nothing is sure: caa moved it, but a test speaks against it"
    assert said([], [replace(rows[0], lost_mass=0.9), rows[1]]) == "nothing can be said"


def test_few_words_stand_before_the_verdict_also_where_much_limits_it(tmp_path: Path) -> None:
    limits = {
        "n_clusters": 8,
        "shift_band": [0.1, 0.3],
        "letter_cosine": 0.8,
        "letter_shift": 2.0,
        "content_shift": 1.0,
    }
    rows = [replace(baseline(), same_letter=0.9), cell("caa", "pos", 0.2, **limits)]
    text = report(make_run(tmp_path, rows))
    before = text.partition("use caa")[0]
    assert "> the model answers by letter; caa mostly a letter; rough intervals; ranked by content\n" in before
    assert len(before.split()) <= 40
    page = (tmp_path / "report.html").read_text(encoding="utf-8").partition("<body>")[2].partition("use caa")[0]
    assert len(re.sub("<[^>]*>", " ", page).split()) <= 40
    # What mends each stands below.
    assert "--measure answers asks without letters" in text.partition("## What limits this")[2]


def test_bars_are_sorted_and_what_is_not_told_apart_is_joined() -> None:
    shifts = {"a": 0.3, "b": 0.28, "c": 0.26, "d": 0.1}
    rows = (baseline(), *(cell(name, "pos", shift) for name, shift in reversed(shifts.items())))
    tied = [
        against("a", "b", 0.02, "undecided"),
        against("c", "b", -0.02, "equivalent"),
        against("a", "c", 0.04, "better"),
    ]
    noise = cell("noise", "pos", 0.02, control=True)
    (panel,) = reach_panels(Summary((*rows, noise), contrasts=[*tied, against("c", "d", 0.16, "better")]))
    (group,) = panel.groups
    assert [(bar.name, *bar.ties) for bar in group.bars] == [
        ("a", "first", ""), ("b", "last", "first"), ("c", "", "last"), ("d", "", "")
    ]  # fmt: skip
    assert group.controls == pytest.approx((-0.03, 0.07)) and (panel.low, panel.high) == (-0.5, 0.5)
    assert panel.place(0.25) == 75 and panel.place(2.0) == 100


def test_nothing_is_to_be_used_where_nothing_moved(tmp_path: Path) -> None:
    still = cell("caa", "pos", 0.03)
    text = report(make_run(tmp_path, [baseline(), still], intervention=PLAIN))
    found = text.partition("## Use the best intervention")[2].partition("\n## ")[0]
    assert "it moved nothing measurably" in found and "```" not in found
