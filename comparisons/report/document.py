"""What a report says: the answer first, then tables and figures, then how to read, repeat and use it."""

from __future__ import annotations

from collections.abc import Sequence

from comparisons.report.blocks import Block, Bullets, Caution, Code, Document, Heading, Paragraph, filled, section
from comparisons.report.evidence import evidence
from comparisons.report.figures import Figures
from comparisons.report.generated import GENERATED_TEXT, generated_table
from comparisons.report.labels import LABELS_TEXT, label_table
from comparisons.report.markdown import escaped
from comparisons.report.models import MODELS_TEXT, models_table
from comparisons.report.open_ended import open_sections
from comparisons.report.provenance import provenance
from comparisons.report.reading import reading
from comparisons.report.robustness import explanation, robustness_table
from comparisons.report.sideeffects import matrices, side_effect_table
from comparisons.report.snippet import snippet
from comparisons.report.sweeptext import sweep_ledger, sweep_sections
from comparisons.report.table import describe, ledger_table, main_table
from comparisons.results.findings import FEW, answer, backfired, estimate, moved_controls
from comparisons.results.record import Choice, Record, shown
from comparisons.results.summary import SummaryRow
from comparisons.util.table import NOTHING, Column, Row, Table, number


def document(record: Record, figures: Figures) -> Document:
    """Puts a report together.

    Args:
        record: the run.
        figures: what was drawn.
    """
    behaviors, subjects = record.summary.behaviors, record.summary.subjects
    models = record.summary.models
    model = str(record.part("model").get("name") or models[0]) if len(models) == 1 else f"{len(models)} models"
    subject = behaviors[0] if len(behaviors) == 1 else f"{len(behaviors)} behaviors"
    aim = "Sweeping layers for" if record.is_sweep else "Changing"
    blocks = [
        *_warnings(record),
        *(sweep_sections(record, figures) if record.is_sweep else _comparison(record, figures)),
        *_chosen(record, figures),
        *(sweep_ledger(record) if record.is_sweep else _ledger(record)),
        *section("How to read this", reading(record)),
        *_again(record),
        *_use(record),
        *section(
            "Provenance", Bullets(tuple(f"{escaped(name)}: {escaped(text)}" for name, text in provenance(record)))
        ),
    ]
    return Document(f"{aim} {escaped(subject)} in {escaped(model)}", tuple(blocks), subjects)


def _warnings(record: Record) -> list[Block]:
    """What must be known before any number is read."""
    found = []
    if record.part("model").get("embedded"):
        found.append(
            "The embedded model is a rehearsal: small enough to run anywhere, and no evidence about large models."
        )
    few = [row for row in record.summary.rows if row.n_items is not None and row.n_items < FEW]
    if few:
        least = min(row.n_items or 0 for row in few)
        names = ", ".join(dict.fromkeys(row.subject for row in few))
        kind = "dev" if record.on_dev else "test"
        found.append(f"Only {least} {kind} questions for {names}: too few for the intervals to mean much.")
    found += [str(note) for note in record.facts.get("notes") or []]
    return [Caution(tuple(map(escaped, found)))] if found else []


def _comparison(record: Record, figures: Figures) -> list[Block]:
    return [
        *_answers(record),
        *_results(record, figures),
        *_models(record),
        *_costs(record, figures),
        *_side_effects(record, figures),
        *filled("By label", label_table(record.summary.rows), LABELS_TEXT),
        *filled("Generated choices", generated_table(record.summary.rows), GENERATED_TEXT),
        *open_sections(record),
        *_robustness(record),
        *evidence(record.summary.rows),
    ]


def _ledger(record: Record) -> list[Block]:
    rows = [row for name in record.summary.subjects for row in record.summary.of(name)]
    return section("Cost of each method", ledger_table(rows))


def _answers(record: Record) -> list[Block]:
    lines = []
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        lines += [escaped(text) for d in ("pos", "neg") if (text := answer(rows, d))]
        wrong = backfired(rows)
        if wrong:
            listed = "; ".join(f"{describe(row)}, {estimate(row)}" for row in wrong)
            lines.append(escaped(f"Moved {name} measurably the wrong way: {listed}."))
        controls = moved_controls(rows)
        if controls:
            listed = "; ".join(f"{describe(row)}, {estimate(row)}" for row in controls)
            text = f"Controls, which are meant to do nothing, moved {name} measurably: {listed}."
            lines.append(escaped(text))
    if not any(row.knowledge_set for row in record.summary.rows):
        lines.append("No knowledge was measured, so nothing is said about cost.")
    return section("Answer", Bullets(tuple(lines)))


def _results(record: Record, figures: Figures) -> list[Block]:
    found = section("Shift", *_band(record), *figures.shift)
    for name in record.summary.subjects:
        rows = record.summary.of(name)
        found += [Heading(escaped(name), 3), Paragraph(_measured(rows)), main_table(rows)]
    return found


def _models(record: Record) -> list[Block]:
    """The same cells on each model."""
    found = [
        Heading(escaped(name), 3) if len(record.summary.behaviors) > 1 else None for name in record.summary.behaviors
    ]
    tables = [models_table(record.summary, name) for name in record.summary.behaviors]
    blocks = [block for pair in zip(found, tables, strict=True) for block in pair if block is not None]
    return section("Models side by side", Paragraph(MODELS_TEXT), *blocks) if len(record.summary.models) > 1 else []


def _measured(rows: Sequence[SummaryRow]) -> str:
    """How many questions stand behind the numbers, and what the baseline knows."""
    counts = sorted({row.n_items for row in rows if row.n_items is not None})
    items = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "No"
    text = f"{items} test questions a cell"
    baseline = rows[0]
    if baseline.is_baseline and baseline.knowledge is not None:
        text += f"; knowledge of the baseline on {escaped(baseline.knowledge_set or '')}: {baseline.knowledge:.3f}"
    return text + "."


def _costs(record: Record, figures: Figures) -> list[Block]:
    if not figures.cost:
        return []
    sets = ", ".join(dict.fromkeys(row.knowledge_set for row in record.summary.rows if row.knowledge_set))
    text = f"Cost is measured on {escaped(sets)}. Above 0 the behavior rises, below it falls; further left is cheaper."
    return section("Shift and cost", Paragraph(text), *figures.cost)


def _band(record: Record) -> list[Block]:
    """What the grey band behind the bars is."""
    counts = [row.n_random for row in record.summary.rows if row.n_random]
    if not counts:
        return []
    matched = any(row.matched_shifts is not None for row in record.summary.rows)
    kind = " and of the training pairs' spread" if matched else ""
    text = (
        f"The grey band behind a bar is where 95% of {min(counts)} random directions of the same norm{kind}, put in "
        "the place of the cell's vectors, moved the behavior."
    )
    return [Paragraph(text)]


def _side_effects(record: Record, figures: Figures) -> list[Block]:
    found = matrices(record.summary)
    if not found:
        return []
    text = (
        "Shift of p_match on the questions of every behavior, by what each cell was fitted to move (framed, in "
        "brackets). Bold, or a star: the 95% interval leaves out 0; it is not corrected for the number of cells."
    )
    tables = [part for matrix in found for part in (Heading(escaped(matrix.title), 3), side_effect_table(matrix))]
    return section("Side effects", Paragraph(text), *figures.side, *tables)


def _robustness(record: Record) -> list[Block]:
    table = robustness_table(record.summary.rows)
    return [] if table is None else section("Robustness", *explanation(record), table)


def _chosen(record: Record, figures: Figures) -> list[Block]:
    """What dev chose, from how many trials, with the curve by layer and the other trials."""
    if not record.choices:
        return []
    columns = (
        *(Column(title, align="left") for title in ("behavior", "method", "chosen")),
        *(Column(title) for title in ("trials", "dev questions", "two-sided shift")),
    )
    rows = [
        (
            choice.subject,
            choice.method,
            ", ".join(f"{name}={shown(value)}" for name, value in choice.chosen.items()) or "none within the limit",
            str(len(choice.trials)),
            NOTHING if choice.n_items is None else str(choice.n_items),
            number(choice.winner.two_sided if choice.winner else None, signed=True),
        )
        for choice in record.choices
    ]
    made = Table(columns, tuple(Row(cells, cells[0]) for cells in rows))
    text = (
        "Settings were chosen on questions held out from fitting, never on the test questions. The two-sided shift "
        f"is the mean of the shifts in the directions wanted{_dose(record)}."
    )
    other = [choice for choice in record.choices if not choice.by_layer]
    tables = [_trials(method, other) for method in dict.fromkeys(choice.method for choice in other)]
    return section("Chosen on dev", Paragraph(text), made, *figures.layers, *tables)


def _dose(record: Record) -> str:
    """At which dose candidates were tried, and what else they had to keep to."""
    limited = next((choice for choice in record.choices if choice.limit is not None), None)
    if limited is None:
        return ", at strength 1"
    return (
        ", at the strength of the trial. Taken is the largest whose knowledge cost has an upper bound (in brackets) of "
        f"at most {limited.limit:g} on {limited.n_knowledge} questions that are not among the test ones either; of "
        "every method with open settings equally many were tried, each at every strength"
    )


def _trials(method: str, choices: Sequence[Choice]) -> Table:
    """A method's trials: a line a candidate, a column a behavior, the two-sided shift on dev in each."""
    mine = [choice for choice in choices if choice.method == method]
    texts = list(dict.fromkeys(trial.text for choice in mine for trial in choice.trials))
    rows = [Row((text, *(_trial(choice, text) for choice in mine)), method) for text in texts]
    columns = (Column(f"{method}: tried", align="left"), *(Column(choice.subject) for choice in mine))
    return Table(columns, tuple(rows))


def _trial(choice: Choice, text: str) -> str:
    trial = next((trial for trial in choice.trials if trial.text == text), None)
    if trial is None:
        return NOTHING
    mark = " (chosen)" if trial.settings == choice.chosen else ""
    bound = "" if trial.cost_bound is None else f" [{number(trial.cost_bound)}]"
    if trial.two_sided is None or trial.broken:
        return f"{'broken' if trial.broken else 'failed'}{bound}{mark}"
    return number(trial.two_sided, signed=True) + bound + mark


def _again(record: Record) -> list[Block]:
    command = record.facts.get("command")
    if not command:
        return []
    text = "The same command resumes or repeats this run."
    return section("Run it again", Paragraph(text), Code(str(command), "sh"))


def _use(record: Record) -> list[Block]:
    """The program that applies the best intervention, or why there is none."""
    if record.intervention is None:
        return []
    cell = escaped(str(record.intervention.get("cell", "")))
    program = snippet(record.intervention)
    if program is None:
        text = "a short program can't show its edits; `intervention.json` there says what they are."
        return section("Use the best intervention", Paragraph(f"`best/` holds {cell}, which moved furthest; {text}"))
    text = f"This applies {cell}, which moved furthest, in plain transformers. Run it from this folder."
    if record.part("specification").get("quantize"):
        text += " The run was quantized; the program loads the full weights, so its answers can differ."
    return section("Use the best intervention", Paragraph(text), Code(program, "python"))
