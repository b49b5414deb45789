"""`compare lens`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.inside import check_folder, deliver, inside_options, query_of
from comparisons.cli.options import reading
from comparisons.util.options import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comparisons.dataset.behaviors import Behavior, Item
    from comparisons.interpret.lens import Lens, LensPoint
    from comparisons.interpret.query import ModelQuery
    from comparisons.model.lm import LM

HELP = """Logit lens: what each block's attention, residual stream, MLP and output would say as the next token.

Read at the end of a question and of its answer's prefix, where the letter comes next, or where an item's answers part
(--read answer, and items without letters), or at --token N.
With --layer and --multiplier a vector is added at that layer from the last prompt token on.

\b
Examples:
  compare lens --behavior refusal
  compare lens --behavior refusal --item 3 --top 5 --png lens.png
  compare lens --behavior refusal --layer 2 --multiplier 4 --png steered.png
  compare lens --vectors FILE --layer 13 --multiplier -1 --prompt "Are you sure? Choices: (A) Yes (B) No"
"""


@click.command("lens", help=HELP)
@inside_options(
    click.option("--prompt", metavar="TEXT", help="A question, in the model's prompt format."),
    click.option("--item", type=int, metavar="N", help="A test item of the behavior, from 0.  [default: 0]"),
    click.option(
        "--letters", callback=reading(names), default="", metavar="A,B", help="Of a --prompt.  [default: A,B]"
    ),
    click.option("--token", type=int, default=-1, show_default=True, metavar="N", help="From 0; -1 is the last one."),
    click.option("--top", type=int, default=2, show_default=True, metavar="K", help="Tokens to name."),
    click.option("--layer", type=int, metavar="N", help="Add a vector at this layer."),
    click.option("--multiplier", type=float, metavar="M", help="Times this.  [default: 1]"),
)
def command(png: Path | None, as_json: bool, **given: Any) -> int:
    from comparisons.interpret.figures import lens_png
    from comparisons.interpret.terminal import show_lens

    query = query_of(given)
    _check(query, **{name: given[name] for name in ("prompt", "item", "letters", "layer", "multiplier")})
    check_folder(png)
    lenses = _lenses(query, given)
    deliver(lenses[0], show_lens, lambda: lens_png(lenses), png, as_json)
    return 0


def _lenses(query: ModelQuery, given: Mapping[str, Any]) -> list[Lens]:
    """The readings to show, and behind them those without the vector, where one is added."""
    from comparisons.interpret.lens import read_lens
    from comparisons.interpret.query import find_item
    from comparisons.intervention import Edit, Intervention

    behavior = query.find_behavior()
    item = find_item(behavior, given["item"] or 0) if given["prompt"] is None else None
    lm = query.load()
    point = _point(lm, query, behavior, item, given)
    plain, layer = read_lens(lm, point, Intervention()), given["layer"]
    if layer is None:
        return [plain]
    layer, times = lm.check_layer(layer), 1.0 if given["multiplier"] is None else given["multiplier"]
    vectors, name = query.find_vectors(lm, behavior)
    edit = Edit(layer, vectors.vector(layer), multiplier=times)
    change = f"{times:+g} × {name} at layer {layer}"
    return [read_lens(lm, point, Intervention(edits=(edit,)), change), plain]


def _point(
    lm: LM, query: ModelQuery, behavior: Behavior | None, item: Item | None, given: Mapping[str, Any]
) -> LensPoint:
    """Where a prompt's letters, or an item's letters or texts, come next."""
    from comparisons.interpret.lens import LensPoint
    from comparisons.interpret.query import answer_prompt
    from comparisons.interpret.words import piece, shown

    if item is not None and behavior is not None and query.reading(behavior) != "letter":
        prompt = answer_prompt(lm, item, query.system)
        first, second = (shown(piece(lm, token, prompt.ids[-1])) for token in prompt.targets)
        return LensPoint(prompt, (first, second), given["token"], given["top"])
    letters = (item.matching, item.contrast) if item else given["letters"] or ("A", "B")
    ordered = (min(letters), max(letters))
    prompt = lm.choice_prompt(item.question if item else given["prompt"], ordered, query.system)
    return LensPoint(prompt, ordered, given["token"], given["top"])


def _check(
    query: ModelQuery,
    prompt: str | None,
    item: int | None,
    letters: tuple[str, ...],
    layer: int | None,
    multiplier: float | None,
) -> None:
    from comparisons.util.errors import CompareError

    if prompt is None and query.behavior is None:
        raise CompareError("nothing to read: give a --prompt, or a --behavior whose item is read.")
    if prompt is not None and item is not None:
        raise CompareError("what to read must be --prompt or --item, not both.")
    if letters and (prompt is None or len(letters) != 2 or letters[0] == letters[1]):
        raise CompareError("--letters are the two different letters of a --prompt, as A,B; an item brings its own.")
    if multiplier is not None and not math.isfinite(multiplier):
        raise CompareError(f"--multiplier must be finite, not {multiplier}.")
    if layer is None and (multiplier is not None or query.vectors is not None):
        raise CompareError("--multiplier and --vectors add a vector at a layer: name it by --layer.")
