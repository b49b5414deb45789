"""Figures for docs/validity.md of what was measured on the model: ranks, doubled strengths, a planted letter bias."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.validation.doses import BROKEN, Doses
from tests.validation.figures import COLORS, GREY, finish, write_png
from tests.validation.shuffles import ISOTROPIC, MATCHED, NORMS, Uniformity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from tests.validation.onmodel import ModelResults

PREFIX = "validity-model-"


def write_model_figures(results: ModelResults, folder: Path) -> list[Path]:
    """Draws three PNGs, validity-model-*.png, and returns their paths."""
    rows = -(-(len(results.behaviors) + 1) // 4)
    return [
        write_png(folder / f"{PREFIX}ranks.png", lambda figure: _ranks(figure, results), (8.0, 3.6)),
        write_png(folder / f"{PREFIX}doses.png", lambda figure: _doses(figure, results), (8.0, 2.2 * rows)),
        write_png(folder / f"{PREFIX}letters.png", lambda figure: _letters(figure, results), (8.0, 3.4)),
    ]


def _ranks(figure: Figure, results: ModelResults) -> None:
    panels = figure.subplots(1, len(NORMS), sharey=True, squeeze=False)[0]
    for axes, norm in zip(panels, NORMS, strict=True):
        mine = [row for row in results.uniform if row.norm == norm]
        axes.axline((0, 0), slope=1, color=GREY, lw=0.9, label="uniform")
        across = np.array([0.0, 1.0])
        band = mine[0].band
        axes.fill_between(
            across, across - band, across + band, color=GREY, alpha=0.2, lw=0, label="95% of exchangeable sets"
        )
        for row in mine:
            _distribution(axes, results, row)
        axes.set_title(f"all at {norm} norm", loc="left", fontsize=9)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        finish(axes, "two-sided rank p")
    panels[0].set_ylabel("share of shuffled-label vectors\nwith this rank p or a lower one")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _distribution(axes: Axes, results: ModelResults, row: Uniformity) -> None:
    mine = [r for r in results.ranks if (r.norm, r.among) == (row.norm, row.among)]
    p_values = np.sort([p for r in mine for p in r.p_values])
    reached = np.arange(1, len(p_values) + 1) / len(p_values)
    color = {MATCHED: COLORS[0], ISOTROPIC: COLORS[1]}[row.among]
    axes.step([0, *p_values, 1], [0, *reached, 1], where="post", color=color, label=f"among vectors {row.among}")


def _doses(figure: Figure, results: ModelResults) -> None:
    names = results.behaviors
    columns = min(4, len(names) + 1)
    grid = figure.subplots(-(-(len(names) + 1) // columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        axes.axhline(0, color=GREY, lw=0.9, zorder=0)
        for place, row in enumerate(row for row in results.doses if row.behavior == name):
            _curve(axes, row, COLORS[place], 0.16 * (place - 0.5))
        axes.set_title(f"{name}, layer {results.doses[2 * names.index(name)].layer}", loc="left", fontsize=8)
        finish(axes, "")
    spare = list(grid.flat)[len(names) :]
    for axes in spare:
        axes.axis("off")
    for axes in list(grid.flat)[: len(names)][-columns:]:
        axes.tick_params(labelbottom=True)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    handles.append(spare[0].plot([], [], "o", mfc="white", color=GREY)[0])
    handles.append(spare[0].plot([], [], color=GREY, lw=1, ls=":")[0])
    spare[0].legend(handles, [*labels, "more than half of the\nmass is lost", "saturated"], loc="center", fontsize=8)
    figure.supxlabel("strength", fontsize=9)
    figure.supylabel("shift of p(matching), the way meant", fontsize=9)


def _curve(axes: Axes, row: Doses, color: str, aside: float) -> None:
    """The shifts over strengths at equal distances, from 0 on; saturation as a dotted line."""
    ticks = np.arange(len(row.strengths) + 1)
    across = ticks + aside
    shifts = np.array([0.0, *row.shifts])
    ends = np.array([(0.0, 0.0), *row.intervals]).T
    axes.errorbar(across, shifts, np.abs(ends - shifts), color=color, capsize=2, lw=1.3, label=row.direction)
    for at, shift, lost in zip(across, shifts, (0.0, *row.lost), strict=True):
        axes.plot(at, shift, "o", ms=4, color=color, mfc="white" if lost > BROKEN else color)
    axes.plot(
        [across[row.strengths.index(row.until) + 1]] * 2,
        [0, row.shifts[row.strengths.index(row.until)]],
        color=color,
        lw=1,
        ls=":",
    )
    axes.set_xticks(ticks, ["0", *(f"{strength:g}".lstrip("0") for strength in row.strengths)], fontsize=8)


def _letters(figure: Figure, results: ModelResults) -> None:
    logits, probability = figure.subplots(1, 2)
    rows = results.planted
    constants = sorted({row.constant for row in rows})
    logits.plot(constants, constants, color=GREY, lw=0.9, label="the constant itself", zorder=0)
    for place, (steered, kind) in enumerate(((False, "alone"), (True, "under the vector"))):
        mine = [row for row in rows if row.steered == steered and row.constant]
        plain = [results.unplanted(row) for row in mine]
        across = [row.constant for row in mine]
        marks = {"ls": "", "ms": (7, 3.5)[place], "mfc": ("white", None)[place]}
        letter = [row.letter - base.letter for row, base in zip(mine, plain, strict=True)]
        content = [row.content - base.content for row, base in zip(mine, plain, strict=True)]
        logits.plot(across, letter, "o", color=COLORS[1], label=f"letter, {kind}", **marks)
        logits.plot(across, content, "s", color=COLORS[0], label=f"content, {kind}", **marks)
    logits.set_title("logits: what the bias changes", loc="left", fontsize=9)
    logits.set_ylabel("change of the shift, logits")
    logits.set_xticks(constants)
    logits.legend(loc="upper left", fontsize=7)
    finish(logits, "constant on the first letter (−: on the second)")
    _probability(probability, results)


def _probability(axes: Axes, results: ModelResults) -> None:
    for steered, color, kind in ((True, COLORS[2], "vector and bias"), (False, COLORS[0], "bias alone")):
        for place, name in enumerate(results.behaviors):
            mine = [row for row in results.planted if row.behavior == name and row.steered == steered]
            mine = sorted([*mine, *([] if steered else [results.unplanted(mine[0])])], key=lambda row: row.constant)
            shifts = [row.shift for row in mine]
            label = None if place else kind
            axes.plot([row.constant for row in mine], shifts, marker="o", ms=3, lw=0.9, color=color, label=label)
    axes.axhline(0, color=GREY, lw=0.9, zorder=0)
    axes.set_title("p(matching): a line a behavior", loc="left", fontsize=9)
    axes.set_ylabel("shift of p(matching)")
    axes.set_xticks(sorted({row.constant for row in results.planted}))
    axes.legend(loc="upper left", fontsize=7)
    axes.set_ylim(top=max(row.shift for row in results.planted) * 1.3)
    finish(axes, "constant on the first letter (−: on the second)")
