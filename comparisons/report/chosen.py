"""The report's section of what dev chose: from how many trials, the curve by layer, and the other trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from comparisons.report.blocks import Block, Paragraph, section
from comparisons.report.figures import Gallery
from comparisons.report.panels import DIRECTIONS, Panel, key, signed, tip, tip_points, whole_layers
from comparisons.results.costs import FALLING, QUANTITIES
from comparisons.results.record import Choice, Matched, Record, shown
from comparisons.util.drawing import GREY
from comparisons.util.table import NOTHING, Column, Row, Table, number

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

CHOSEN: tuple[tuple[Column, Callable[[Choice], str]], ...] = (
    (Column("behavior", align="left"), lambda choice: choice.subject),
    (Column("method", align="left"), lambda choice: choice.method),
    (
        Column("chosen", align="left"),
        lambda c: ", ".join(f"{name}={shown(value)}" for name, value in c.chosen.items()) or "none within the limit",
    ),
    (Column("trials"), lambda choice: str(len(choice.trials))),
    (Column("dev questions"), lambda choice: NOTHING if choice.n_items is None else str(choice.n_items)),
    (Column("two-sided shift"), lambda c: number(c.winner.two_sided if c.winner else None, signed=True)),
)


def chosen_section(record: Record, gallery: Gallery) -> list[Block]:
    """What dev chose; nothing where nothing was open."""
    pictures = gallery.draw("layers", layer_panels(record.choices), "Shift on dev by layer")
    if not record.choices:
        return _matched_section(record)
    text = (
        "Settings were chosen on questions held out from fitting, never on the test questions. The two-sided shift "
        f"is the mean of the shifts in the directions wanted{_dose(record)}."
    )
    table = Table.of(CHOSEN, record.choices, lambda choice: choice.subject)
    other = [choice for choice in record.choices if not choice.by_layer]
    tables = [_trials(method, other) for method in dict.fromkeys(choice.method for choice in other)]
    return [*_matched_section(record), *section("Chosen on dev", Paragraph(text), table, *pictures, *tables)]


MATCHED: tuple[tuple[Column, Callable[[Matched], str]], ...] = (
    (Column("behavior", align="left"), lambda one: one.subject),
    (Column("method", align="left"), lambda one: one.method),
    (Column("direction", align="left"), lambda one: one.direction),
    (Column("strength"), lambda one: NOTHING if one.strength is None else f"{one.strength:g}"),
    (Column("value on dev"), lambda one: number(dict(one.tried).get(one.strength or 0.0))),
    (Column("strengths tried"), lambda one: str(len(one.tried))),
)


def _matched_section(record: Record) -> list[Block]:
    """The strengths that were found for a value; nothing where none was wanted."""
    if not record.matched:
        return []
    quantity, _, value = record.matched[0].match.partition("=")
    text = (
        f"Each strength is the one at which the cell has a {QUANTITIES[quantity]} of {value} on what is held out to "
        "choose by, interpolated between strengths that were tried there; no test question was read for it. What has "
        "no dose stands in the tables as it is."
    )
    return section("Matched on dev", Paragraph(text), Table.of(MATCHED, record.matched, lambda one: one.subject))


BOUNDS = "an upper bound (in brackets) of at most", "a lower bound (in brackets) of at least"


def _dose(record: Record) -> str:
    """At which dose candidates were tried, and what else they had to keep to."""
    limited = next((choice for choice in record.choices if choice.limits), None)
    if limited is None:
        return f", at strength 1. {_rule(record.choices)}"
    held = {"cost": f"{limited.n_knowledge} questions"}
    bounds = " and ".join(
        f"whose {QUANTITIES[quantity]} has {BOUNDS[quantity in FALLING]} {limit:g} on {held.get(quantity, 'prompts')}"
        for quantity, limit in limited.limits.items()
    )
    return (
        f", at the strength of the trial. Taken is the largest {bounds} that are not among the test ones either; of "
        "every method with open settings equally many were tried, each at every strength"
    )


def _rule(choices: Sequence[Choice]) -> str:
    """Which candidate was taken, and of how many, where methods differ in that."""
    text = "Taken is the mildest that reaches nine tenths of the largest: the lowest rate and epoch, the last layer"
    if searched := dict.fromkeys(c.method for c in choices if any(trial.only for trial in c.trials)):
        names = ", ".join(searched)
        text += f". What takes a fit of its own ({names}) was chosen so by pos alone, and neg fitted with that"
    counts = {choice.method: len(choice.trials) for choice in choices}
    if len({*counts.values()}) > 1:
        text += ". Not equally many were tried, and more trials find more: " + ", ".join(
            f"{method} {count}" for method, count in counts.items()
        )
    return text


def _trials(method: str, choices: Sequence[Choice]) -> Table:
    """A method's trials: a line a candidate, a column a behavior, the two-sided shift on dev in each."""
    of_method = [choice for choice in choices if choice.method == method]
    texts = list(dict.fromkeys(trial.text for choice in of_method for trial in choice.trials))
    rows = [Row((text, *(_trial(choice, text) for choice in of_method)), method) for text in texts]
    columns = (Column(f"{method}: tried", align="left"), *(Column(choice.subject) for choice in of_method))
    return Table(columns, tuple(rows))


def _trial(choice: Choice, text: str) -> str:
    trial = next((trial for trial in choice.trials if trial.text == text), None)
    if trial is None:
        return NOTHING
    mark = " (chosen)" if trial.settings == choice.chosen else ""
    bounds = [number(b) for b in (trial.cost_bound, trial.kl_bound, trial.coherence_bound) if b is not None]
    bound = f" [{', '.join(bounds)}]" if bounds else ""
    if trial.only and trial.shift_pos is not None:
        return f"{trial.only} {number(trial.shift_pos, signed=True)}"
    if trial.two_sided is None or trial.broken:
        return f"{'broken' if trial.broken else 'failed'}{bound}{mark}"
    return number(trial.two_sided, signed=True) + bound + mark


@dataclass(frozen=True)
class LayerPanel(Panel):
    """Shift on dev by layer in both directions, the chosen layer marked."""

    choice: Choice

    x_label: ClassVar[str] = "layer (block, counted from 0)"
    y_label: ClassVar[str] = "shift on dev"

    @property
    def height(self) -> float:
        return 2.2

    def draw(self, axes: Axes) -> None:
        trials = sorted(self.choice.trials, key=lambda trial: int(trial.settings["layer"]))
        layers = [int(trial.settings["layer"]) for trial in trials]
        chosen = self.choice.chosen.get("layer")
        if chosen is not None:
            axes.axvline(chosen, **MARK, zorder=0)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
        shifts = {"pos": [trial.shift_pos for trial in trials], "neg": [trial.shift_neg for trial in trials]}
        for direction, values in shifts.items():
            if any(value is not None for value in values):
                numbers = [float("nan") if value is None else value for value in values]
                name, size = DIRECTIONS[direction][2], 5 if len(layers) <= 16 else 3
                tip(axes.plot(layers, numbers, **LINES[direction], markersize=size)[0], series=name)
                points = [(x, y) for x, y in zip(layers, values, strict=True) if y is not None]
                tip_points(axes, [(x, y, f"layer {x}: {signed(y)}", "") for x, y in points], series=name)
        whole_layers(axes)

    def handles(self) -> list[Artist]:
        curves = [key(DIRECTIONS[direction][2], **look, markersize=5) for direction, look in LINES.items()]
        return [*curves, key("chosen layer", **MARK)]


LINES: dict[str, dict[str, Any]] = {
    "pos": {"color": DIRECTIONS["pos"][0], "linestyle": "-", "marker": "o"},
    "neg": {"color": DIRECTIONS["neg"][0], "linestyle": "--", "marker": "s"},
}
MARK: dict[str, Any] = {"color": "#bbbbbb", "linewidth": 4}
"""Of the chosen layer."""


def layer_panels(choices: Sequence[Choice]) -> list[LayerPanel]:
    """A panel for each choice among layers."""
    by_layer = [choice for choice in choices if choice.by_layer]
    several = len({choice.method for choice in by_layer}) > 1
    panels = []
    for choice in by_layer:
        name = f"{choice.subject}, {choice.method}" if several else choice.subject
        chosen = f"layer {choice.chosen.get('layer')} chosen, of {len(choice.trials)} tried"
        panels.append(LayerPanel(f"{name}: {chosen}", choice))
    return panels
