"""Tables as CSV and as LaTeX (booktabs), and a run's main table as both."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from comparisons.report.contrasts import contrast_table
from comparisons.report.table import SUPERSCRIPTS, main_table
from comparisons.results.contrasts import flat as flat_contrast
from comparisons.results.summary import Summary, SummaryRow
from comparisons.util.table import no_formula

NUMBERS = (
    *("n_items", "p_match", "shift", "p_value", "p_holm", "random_rank_p", "matched_rank_p", "knowledge", "cost"),
    *("letter_bias", "lost_mass", "anti_steerable", "content_shift", "letter_shift"),
)
"""Fields of a row that a CSV shows, in order; an interval follows its number as two columns."""

NARROW = 7
"""Columns of this rank or above don't fit a printed page beside the others."""

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\u2212": "$-$",
    **{character: rf"\{character}" for character in "&%$#_"},
    **{chr(mark): rf"\textsuperscript{{{chr(digit)}}}" for digit, mark in SUPERSCRIPTS.items()},
}


def csv_text(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """CSV with a header; None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[no_formula(cell) for cell in row] for row in [header, *rows]])
    return text.getvalue()


def summary_csv(summary: Summary) -> str:
    """A run's rows with every digit: a line a cell and baseline."""
    bounded = {name for name in NUMBERS if hasattr(SummaryRow, f"{name}_ci")}
    header = ["model", "behavior", "method", "direction", "strength", "layer", "status", "control", "broken"]
    for name in NUMBERS:
        header += [name, f"{name}_low", f"{name}_high"] if name in bounded else [name]
    lines = []
    for row in summary.rows:
        line: list[object] = [row.model, row.behavior, row.name, row.direction, row.strength, row.layer, row.status]
        line += [str(row.control).lower(), str(row.broken).lower()]
        for name in NUMBERS:
            line.append(getattr(row, name))
            if name in bounded:
                line += getattr(row, f"{name}_ci") or (None, None)
        lines.append([*line, row.error])
    return csv_text([*header, "error"], lines)


def summary_latex(summary: Summary) -> str:
    """A run's main table, one a behavior, with the columns that fit a page."""
    tables = []
    for behavior in summary.behaviors:
        table = main_table(summary.of(behavior)).keeping(lambda i, column: column.rank < NARROW).joined()
        titles, rows = [column.title for column in table.columns], [row.cells for row in table.rows]
        caption = f"{behavior}: shift of p_match from the baseline, with 95% intervals"
        tables.append(latex_text(titles, rows, caption, table.notes))
    return "\n".join(tables)


def contrasts_csv(summary: Summary) -> str:
    """A run's contrasts with every digit: a line a pair."""
    header, lines = list[str](), list[list[object]]()
    for contrast in summary.contrasts:
        flat = flat_contrast(contrast)
        header, lines = list(flat), [*lines, list(flat.values())]
    return csv_text(header, lines)


def contrasts_latex(summary: Summary) -> str:
    """A run's contrasts as one table, with the columns that fit a page."""
    table = contrast_table(summary).keeping(lambda i, column: column.rank < 2).joined()
    caption = "Differences of shifts, with 95% intervals, and intervals over all pairs"
    return latex_text([c.title for c in table.columns], [row.cells for row in table.rows], caption)


def latex_text(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, notes: Sequence[str] = ()) -> str:
    """A LaTeX table with booktabs rules, the first column left-aligned, the others right-aligned, notes below."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        _line(header),
        r"\midrule",
        *map(_line, rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip{{\footnotesize {latex_escaped(note)}}}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"{' & '.join(map(latex_escaped, cells))} \\\\"


def latex_escaped(text: str) -> str:
    """Text that LaTeX shows as it is, on one line."""
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
