"""What a shift costs, as a part of a sentence: knowledge, KL and coherence, and whether limits are kept on test."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.results.summary import SummaryRow
from comparisons.util.table import interval as bounds
from comparisons.util.table import number


def with_interval(
    value: float | None, interval: Sequence[float] | None, signed: bool = False, fine: bool = False
) -> str:
    """A number, a blank, and its interval in brackets."""
    assert value is not None
    # Two places read well; what would round to 0.00 gets a third, so that a bound can't seem to touch 0, and so do
    # bounds that would round to one number.
    parts = (value, *(interval or ()))
    narrow = interval is not None and 0 < interval[1] - interval[0] < 0.01
    places = 3 if fine or narrow or any(abs(part) < 0.005 for part in parts) else 2
    return f"{number(value, signed, places)} {bounds(interval, places) if interval else '(no interval)'}"


def price(row: SummaryRow) -> str:
    """What the shift cost in knowledge, with its interval; nothing where no knowledge was measured."""
    if row.cost is None:
        return _beside(row)
    # The margin has two places: what lies below it must not seem to equal it.
    text = with_interval(row.cost, row.cost_ci, fine=True)
    if row.n_knowledge is not None:
        text += f", {row.n_knowledge} questions"
    test, above = row.cost_test, row.cost_ci is not None and row.cost_ci[0] > 0
    verdict = test and test["verdict"]
    if verdict == "at chance":
        why = "since the unchanged model's knowledge is at chance"
        return f"{_beside(row)}; of its cost nothing is said, {why} ({text})"
    if test and verdict == "below":
        said = "knowledge cost below the" if above else "no measurable knowledge cost, by a"
        found = f" at {'a ' if above else ''}{said} margin of {test['margin']:g} ({text})"
    elif test and verdict == "not testable" and not above:
        found = f" at a knowledge cost that is not testable by a margin of {test['margin']:g} ({text}: too few)"
    elif row.cost_ci is not None and row.cost_ci[0] <= 0 <= row.cost_ci[1]:
        found = f" at a knowledge cost that can't be told from 0 ({text})"
    else:
        found = f" at a knowledge cost of {text}"
    limit = None if test is None else test["limit"]
    within = "" if limit is None or row.cost_bound is None else _kept(row.cost_bound, limit)
    return found + within + _beside(row)


def _beside(row: SummaryRow) -> str:
    """The KL of a shift, and whether a cell that was selected by it on dev keeps to the limit on test."""
    if row.kl is None:
        return _coherent(row)
    beside = row.measured.get("kl", {})
    limit, bound = beside.get("kl_limit"), beside.get("kl_bound")
    within = "" if limit is None or bound is None else _kept(bound, limit)
    return f", KL {with_interval(row.kl, beside.get('kl_ci'), fine=True)}{within}{_coherent(row)}"


def _coherent(row: SummaryRow) -> str:
    """The same of the coherence of its answers, where cells were selected or matched by it."""
    test = row.measured.get("coherence", {})
    by_match = (row.matched or "").startswith("coherence")
    if row.coherence is None or not (test or by_match):
        return ""
    judges = row.open_ended["judges"] if row.open_ended else {}
    rated = (one.get("coherence_ci") for one in judges.values() if one.get("coherence") is not None)
    bound = test.get("bound")
    within = "" if bound is None else _kept(bound, test["limit"], least=True)
    return f", coherence {with_interval(row.coherence, next(rated, None))}{within}"


def _kept(bound: float, limit: float, least: bool = False) -> str:
    """Whether a bound on test is within the limit that one on dev kept to: at most there, or at least."""
    if bound >= limit if least else bound <= limit:
        return f", on test too within the limit of {limit:g}"
    said = "may be only" if least else "at most"
    return f", on test not shown to be within the limit of {limit:g} ({said} {bound:.3f})"
