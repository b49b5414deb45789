"""What stands between a run and its answer: each found, said with its mend, and held to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from comparisons import stats
from comparisons.evaluation.measures import Paired, letter_habit
from comparisons.evaluations.choices import label_shifts
from comparisons.evaluations.knowledge import cost_numbers
from comparisons.results.findings import FEWEST, answer, ranked
from comparisons.results.gates import gates
from comparisons.results.summary import Summary, SummaryRow
from tests.made_runs import baseline, cell


def found(*rows: SummaryRow) -> dict[str, str]:
    return {gate.kind: gate.text for gate in gates(Summary(rows))}


def pair(before: np.ndarray, difference: np.ndarray) -> Paired:
    items = tuple(map(str, range(len(before))))
    return Paired(items, difference, difference, before, before + difference, None)


def test_nothing_is_said_where_nothing_is_wrong() -> None:
    assert found(baseline(), cell("caa", "pos", 0.2, n_clusters=50, shift_band=[0.1, 0.3])) == {}
    assert stats.FEWEST == FEWEST


def test_a_broken_baseline_voids_the_answer() -> None:
    rows = [replace(baseline(), lost_mass=0.97), cell("caa", "pos", 0.3)]
    assert "the unchanged model puts 97% of the probability on something else" in found(*rows)["broken baseline"]
    assert [gate.void for gate in gates(Summary(tuple(rows)))] == [True]
    said = answer(rows, "pos")
    assert said == "To raise refusal, the answer is void: the unchanged model answers something else than the letters."


@pytest.mark.parametrize(("same", "correlation", "named"), [(0.88, -0.87, True), (0.3, -0.6, True), (0.3, 0.4, False)])
def test_a_model_that_answers_by_letter_is_named(same: float, correlation: float, named: bool) -> None:
    rows = [replace(baseline(), same_letter=same, order_correlation=correlation), cell("caa", "pos", 0.2)]
    assert ("by letter" in found(*rows)) == named


def test_the_habit_is_that_of_both_orders() -> None:
    def row(item: int, order: str, matching: str, logit: float) -> dict[str, object]:
        contrast = "B" if matching == "A" else "A"
        logps = {"logp_matching": logit, "logp_contrast": 0.0, "p_match": 1 / (1 + np.exp(-logit))}
        asked = {"evaluation": "choices", "item": str(item), "order": order, "matching": matching}
        return {**asked, "contrast": contrast, **logps}

    # Three items are answered (A) whatever it says, by 1, 2 and 3 nats, and one by its content.
    rows = [row(4, "given", "B", 5.0), row(4, "swapped", "A", 4.0)]
    for item in (1, 2, 3):
        rows += [row(item, "given", "A", item), row(item, "swapped", "B", -item)]
    habit = letter_habit(rows, "choices")
    assert habit["same_letter"] == 0.75
    assert habit["order_correlation"] == pytest.approx(np.corrcoef([5, 1, 2, 3], [4, -1, -2, -3])[0, 1])


def test_a_vector_of_letters_and_ranks_by_content() -> None:
    letter = cell("caa", "pos", 0.4, letter_cosine=-0.7, letter_shift=2.0, content_shift=0.1)
    content = cell("sysprompt", "pos", 0.2, letter_shift=0.1, content_shift=1.5)
    said = found(baseline(), letter, content)
    assert "up to -0.70" in said["letter vector"] and "vectors of caa" in said["letter vector"]
    assert "more of the shift of caa follows the letter" in said["ranks by content"]
    assert [row.name for row in ranked([baseline(), letter, content], "pos")] == ["sysprompt", "caa"]
    assert "sysprompt has the largest content shift" in (answer([baseline(), letter, content], "pos") or "")
    plain = replace(letter, letter_shift=0.05)
    assert [row.name for row in ranked([baseline(), plain, content], "pos")] == ["caa", "sysprompt"]


@pytest.mark.parametrize(("clusters", "says"), [(5, "under 6 there is no interval"), (8, "with under 10 intervals")])
def test_few_clusters_are_named(clusters: int, says: str) -> None:
    said = found(baseline(), cell("caa", "pos", 0.2, n_clusters=clusters))["clusters"]
    assert f"50 questions of {clusters} templates" in said and says in said


def test_few_questions_are_named() -> None:
    why = "16 questions, of which 94% hardly differ, are too few"
    few = cell("caa", "pos", 0.2, n_items=16, n_clusters=16, too_few=why)
    assert f"nothing is said of caa: {why}" in found(baseline(), few)["few questions"]
    # The share that 30 questions miss in one run of twenty: 1 - .05^(1/30).
    some = [baseline(), cell("caa", "pos", 0.2, n_items=30, n_clusters=30)]
    assert "30 questions: what under 10% of all questions do may be missing" in found(*some)["few questions"]
    assert found(baseline(), cell("caa", "pos", 0.2, n_items=50, n_clusters=50)) == {}


def test_shifts_too_skewed_for_their_questions_are_named() -> None:
    """Cochran's n > k · G1², with k of 10: at a skewness of 2.2 that is 48.4."""
    enough, few, other = (replace(cell("caa", "pos", 0.2, n_items=n, n_clusters=n), skewness=-2.2) for n in (49, 48, 9))
    assert "skewed" not in found(baseline(), enough) and "skewed" not in found(baseline(), other)
    assert "the shifts of caa are skewed (up to -2.2)" in found(baseline(), few)["skewed"]
    assert "skewed" not in found(baseline(), replace(few, too_few="too few move"))


def test_knowledge_at_chance_claims_no_cost() -> None:
    random = np.random.default_rng(0)
    none = np.zeros(200)
    guessing, knowing = random.uniform(0.3, 0.7, 200), random.uniform(0.7, 0.9, 200)
    verdicts = [cost_numbers(pair(p, none), 0, 0.02, chance=0.5)["cost_test"]["verdict"] for p in (guessing, knowing)]
    assert verdicts == ["at chance", "below"]
    rows = [baseline(), cell("caa", "pos", 0.2, **cost_numbers(pair(guessing, none), 0, 0.02, chance=0.5))]
    assert "nothing is said about cost" in found(*rows)["chance"]
    assert "of its cost nothing is said" in (answer(rows, "pos") or "")


@pytest.mark.parametrize(("count", "bounded"), [(29, False), (30, True)])
def test_label_groups_under_thirty_have_no_interval(count: int, bounded: bool) -> None:
    values = np.random.default_rng(1).normal(0, 0.1, 2 * count)
    labels = {str(i): "yes" if i < count else "no" for i in range(2 * count)}
    shifts = label_shifts(pair(np.full(2 * count, 0.5), values), labels, seed=0)
    assert (shifts["labels"]["yes"]["ci"] is not None) == bounded
    assert (shifts["label_differences"][0]["ci"] is not None) == bounded
