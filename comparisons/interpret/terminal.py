"""Traces and lenses in a terminal, within its width: coloured tokens, a map of token × layer, a table of guesses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comparisons.interpret.words import shown
from comparisons.util.table import number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from comparisons.interpret.groups import GroupTrace
    from comparisons.interpret.lens import Lens, Reading
    from comparisons.interpret.trace import Trace

LABEL = 14
"""Characters of a token's name beside its row."""

CELL, NUMBER = 2, 7
"""Characters of a cell that has a sign and a digit, and of one with a whole number."""

SHARE, LETTER = 5, 6
"""Characters of a probability, and of a letter's name at most."""

POSITIVE, NEGATIVE = (213, 94, 0), (0, 114, 178)
"""Vermillion and blue, which are told apart in all common kinds of colour blindness."""


def style(value: float, limit: float) -> str:
    """A Rich style: the background goes from white at 0 to vermillion (positive) or blue (negative) at the limit."""
    share = min(1.0, abs(value) / limit)
    red, green, blue = (round(255 - share * (255 - c)) for c in (POSITIVE if value > 0 else NEGATIVE))
    # White letters on the blue from where black ones are hard to read.
    ink = "white" if value < 0 and share > 0.75 else "black"
    return f"{ink} on rgb({red},{green},{blue})"


def colored_tokens(trace: Trace, layer: int) -> Text:
    """The sequence as running text, each token on its colour at one layer; the answer is underlined."""
    from rich.text import Text

    text, row = Text(), trace.values[trace.layers.index(layer)]
    for place, (piece, value) in enumerate(zip(trace.pieces, row.tolist(), strict=True)):
        underline = "underline " if place >= trace.prompt_tokens else ""
        printable = "".join(c if c.isprintable() else shown(c) for c in piece)
        text.append(printable or "·", style=underline + style(value, trace.limit))
        if "\n" in piece:
            text.append("\n")
    return text


def _table(gap: int) -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))


def map_table(trace: Trace, width: int) -> Table:
    """Token × layer: whole numbers where they fit, else a sign and a digit, in tenths of the colours' limit.

    Args:
        trace: what to show.
        width: of the terminal; where a column of every layer doesn't fit, evenly spaced ones are shown.
    """
    from rich.text import Text

    room, whole = width - LABEL, _whole(trace, width)
    layers = range(len(trace.layers)) if whole else _spaced(len(trace.layers), max(1, room // (CELL + 1)))
    table = _table(0)
    table.add_column("token", no_wrap=True, width=LABEL, overflow="ellipsis")
    for column in layers:
        name = str(trace.layers[column])
        table.add_column(name, justify="right", no_wrap=True, width=NUMBER - 1 if whole else max(CELL, len(name)))
    for place, piece in enumerate(trace.pieces):
        values = [float(trace.values[column, place]) for column in layers]
        cells = [Text(_cell(value, trace.limit, whole), style=style(value, trace.limit)) for value in values]
        mark = "underline" if place >= trace.prompt_tokens else ""
        table.add_row(Text(shown(piece, LABEL), style=mark), *cells)
    return table


def _whole(trace: Trace, width: int) -> bool:
    """Whether a whole number of every layer fits."""
    return LABEL + len(trace.layers) * NUMBER <= width


def _cell(value: float, limit: float, whole: bool) -> str:
    if not whole:
        return f"{'-' if value < 0 else '+'}{min(9, int(10 * abs(value) / limit))}"
    # Always six characters: a first token's state may be thousands of times as long as the others'.
    decimals = next((3 - i for i, most in enumerate((9.999, 99.99, 999.9)) if abs(value) < most), 0)
    return number(value, signed=True, places=decimals) if decimals else f"{value:+.0e}"


def _spaced(count: int, room: int) -> list[int]:
    """At most `room` places out of `count`, evenly spaced, the last one among them."""
    step = -(-count // room)
    return list(range((count - 1) % step, count, step))


def legend(trace: Trace, shown_layers: str) -> str:
    """What the colours mean, in a line."""
    answer = "; the answer is underlined" if trace.prompt_tokens < len(trace.ids) else ""
    return f"{trace.vector}; {trace.unit}; {shown_layers}; full colour at ±{trace.limit:.3g}{answer}"


def lens_table(lens: Lens, width: int) -> Table:
    """Layer × part of the block: its likeliest tokens, and what the block's output gives to the two letters.

    Args:
        lens: what to show.
        width: of the terminal.
    """
    from rich.text import Text

    rows: dict[int, list[Reading]] = {}
    for reading in lens.readings:
        rows.setdefault(reading.layer, []).append(reading)
    heads = [f"p({shown(letter, LETTER)})" for letter in lens.letters]
    letters = [max(SHARE, len(head)) for head in heads]
    # Beside the layer's 5 columns and the letters', with a gap of 1 before each.
    column = max(SHARE + 5, (width - 5 - sum(letters) - len(letters)) // 4 - 1)
    table = _table(0)
    table.add_column("layer", justify="right", no_wrap=True)
    for reading in next(iter(rows.values())):
        table.add_column(reading.site, no_wrap=True, width=column)
    for head, least in zip(heads, letters, strict=True):
        table.add_column(head, justify="right", no_wrap=True, width=least)
    for layer, readings in rows.items():
        block = readings[-1].letters
        cells = [Text(_guesses(reading, column)) for reading in readings]
        table.add_row(str(layer), *cells, *(Text(_share(p)) for p in block))
    return table


def _guesses(reading: Reading, width: int) -> str:
    lines = [(shown(guess.text, width - SHARE), _share(guess.p)) for guess in reading.top]
    return "\n".join(f"{text:<{width - SHARE}}{p}" for text, p in lines)


def _share(p: float) -> str:
    """A probability in at most five characters; of a small one its power of ten, by which layers are told apart."""
    if p >= 0.005:
        text = "1.00" if p >= 0.995 else f"{p:.2f}"[1:]
    else:
        text = re.sub(r"-0?(\d+)", r"-\1", f"{p:.0e}") if p >= 1e-99 else "0"
    return text.rjust(SHARE)


def show_trace(trace: Trace, console: Console) -> None:
    """Prints a trace: one layer as coloured running text where there are colours, else the map."""
    one = len(trace.layers) == 1
    if one and console.color_system is not None:
        layers = f"layer {trace.layers[0]}"
        console.print(colored_tokens(trace, trace.layers[0]))
    else:
        table = map_table(trace, console.width)
        columns = len(table.columns) - 1
        layers = f"layer {trace.layers[0]}" if one else f"{columns} of {len(trace.layers)} layers"
        if not _whole(trace, console.width):
            layers += ", digits are tenths of full colour"
        console.print(table)
    console.print(legend(trace, layers), markup=False, highlight=False)


def show_groups(trace: GroupTrace, console: Console) -> None:
    """Prints each group's mean by layer over the prompt's end and over the answer; the picture has the rest."""
    import numpy as np

    answer = [i for i, position in enumerate(trace.positions) if position > 0]
    last = trace.positions.index(0)
    table = _table(1)
    table.add_column("layer", justify="right")
    shown_groups = [(group.name, group.values) for group in trace.groups]
    if trace.difference is not None:
        shown_groups.append(("difference", trace.difference))
    for name, _ in shown_groups:
        table.add_column(f"{name}\nprompt's end", justify="right")
        table.add_column(f"{name}\nanswer", justify="right")
    for row, layer in enumerate(trace.layers):
        cells = []
        for _, values in shown_groups:
            known = values[row, answer][np.isfinite(values[row, answer])]
            cells += [f"{values[row, last]:+.3g}", f"{known.mean():+.3g}" if known.size else "–"]
        table.add_row(str(layer), *cells)
    console.print(table)
    counts = ", ".join(f"{group.name}: {group.items} items" for group in trace.groups)
    console.print(f"{counts}; {trace.vector}; {trace.unit}", markup=False, highlight=False)


def show_lens(lens: Lens, console: Console) -> None:
    """Prints a lens: at which token, the table, and what the model itself says."""
    console.print(f"{lens.where}; {lens.change or 'unchanged'}", markup=False, highlight=False)
    console.print(lens_table(lens, console.width))
    final = ", ".join(f"p({letter}) {p:.4f}" for letter, p in zip(lens.letters, lens.final, strict=True))
    console.print(f"the model itself: {final}; p(…) in the table: of the block's output", markup=False, highlight=False)
