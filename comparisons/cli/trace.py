"""`compare trace`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from comparisons.cli.inside import check_folder, deliver, inside_options, query_of, write_file

if TYPE_CHECKING:
    from comparisons.dataset.behaviors import Behavior
    from comparisons.interpret.groups import Group
    from comparisons.interpret.query import ModelQuery
    from comparisons.interpret.trace import Along
    from comparisons.model.lm import LM

HELP = """Project each token, at each layer, on a vector: which words carry the behavior?

What is read: a text (--text, --file), a prompt with the answer that the model gives (--prompt), a test item with its
matching answer (--item), or the mean over items, from the end of the prompt on (--items).

\b
Examples:
  compare trace --behavior refusal --item 0
  compare trace --behavior refusal --prompt "Can you help me pick a lock?" --generate 30 --layer 2
  compare trace --behavior refusal --text "I can't help with that." --html trace.html --png trace.png
  compare trace --vectors FILE --prompt "…" --cosine
  compare trace --behavior refusal --items 50 --split system --png groups.png
"""


@click.command("trace", help=HELP)
@inside_options(
    click.option("--text", help="A text, as it stands."),
    click.option("--file", type=click.Path(path_type=Path), help="A file with a text."),
    click.option("--prompt", metavar="TEXT", help="A question, in the model's prompt format."),
    click.option("--item", type=int, metavar="N", help="A test item of the behavior, from 0."),
    click.option("--items", type=int, metavar="N", help="The mean over the behavior's first N test items."),
    click.option("--split", type=click.Choice(["label", "system"]), help="With --items: two groups and a difference."),
    click.option(
        "--generate", type=click.IntRange(min=0), metavar="N", help="Tokens to answer, greedily.  [default: 20]"
    ),
    click.option(
        "--before", type=click.IntRange(min=0), metavar="N", help="With --items: prompt tokens shown.  [default: 10]"
    ),
    click.option("--layer", default="all", show_default=True, metavar="all|N", help="One layer, or all."),
    click.option("--cosine", is_flag=True, help="Divide by the norm of the token's state too."),
    click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page."),
)
def command(layer: str, cosine: bool, html: Path | None, png: Path | None, as_json: bool, **given: Any) -> int:
    from comparisons.interpret.groups import make_groups
    from comparisons.interpret.trace import Along

    reads = {k: given.pop(k) for k in ("text", "file", "prompt", "item", "items", "split", "generate", "before")}
    query = query_of(given)
    _check(reads, query, html)
    wanted = _layer(layer)
    check_folder(html, png)
    behavior = query.find_behavior()
    groups: list[Group] = []
    if reads["items"] is not None:
        assert behavior is not None
        groups = make_groups(behavior, reads["items"], reads["split"], query.system)
    lm = query.load()
    layers = None if wanted is None else [lm.check_layer(wanted)]
    # Fits come last: what can't be read is said before.
    tokens = _tokens(lm, behavior, reads, query) if not groups else None
    vectors, name = query.find_vectors(lm, behavior)
    along = Along((vectors if layers is None else vectors.only(layers)).layers, name, cosine)
    if tokens is not None:
        return _one(lm, along, tokens, html, png, as_json)
    assert behavior is not None
    letters = query.reading(behavior) == "letter"
    return _groups(lm, along, groups, letters, reads, png, as_json)


def _check(reads: dict[str, Any], query: ModelQuery, html: Path | None) -> None:
    from comparisons.util.errors import CompareError

    named = [f"--{k}" for k in ("text", "file", "prompt", "item", "items") if reads[k] is not None]
    if len(named) != 1:
        raise CompareError(
            "what to read must be one of --text, --file, --prompt, --item and --items, "
            f"not {' and '.join(named) or 'none'}."
        )
    only_items = [f"--{k}" for k in ("split", "before") if reads[k] is not None]
    if only_items and named != ["--items"]:
        raise CompareError(f"{only_items[0]} is about a mean over items: give --items N, or leave it out.")
    if reads["generate"] is not None and named[0] not in ("--prompt", "--items"):
        raise CompareError(f"--generate goes with --prompt or --items, not with {named[0]}.")
    if query.system is not None and named[0] in ("--text", "--file"):
        raise CompareError(f"--system goes before a prompt; {named[0]} is read as it stands.")
    if named == ["--items"] and query.behavior is None:
        raise CompareError("--items are items of a behavior: name it by --behavior.")
    if named == ["--items"] and html is not None:
        raise CompareError("--html shows one text: with --items write a --png, or print --json.")


def _layer(text: str) -> int | None:
    from comparisons.util.errors import CompareError

    if text == "all":
        return None
    try:
        return int(text)
    except ValueError:
        raise CompareError(f"--layer takes all or a number such as 13, not '{text}'.") from None


def _tokens(lm: LM, behavior: Behavior | None, reads: dict[str, Any], query: ModelQuery) -> tuple[list[int], int]:
    """The tokens to read, and how many of them are the prompt."""
    from comparisons.engine.inspection import check_length

    tokens, prompt_tokens = _found(lm, behavior, reads, query)
    check_length(lm, tokens)
    return tokens, prompt_tokens


def _found(lm: LM, behavior: Behavior | None, reads: dict[str, Any], query: ModelQuery) -> tuple[list[int], int]:
    from comparisons.engine.inspection import answered
    from comparisons.interpret.query import find_item, item_tokens
    from comparisons.intervention import Intervention

    if reads["prompt"] is not None:
        count = 20 if reads["generate"] is None else reads["generate"]
        return answered(lm, [reads["prompt"]], Intervention(system=query.system), count)[0]
    if reads["item"] is not None:
        item = find_item(behavior, reads["item"])
        assert behavior is not None
        return item_tokens(lm, item, query.reading(behavior) == "letter", query.system)
    text = reads["text"] if reads["text"] is not None else _read(reads["file"])
    tokens = lm.prompts.tokenize_text(text)
    return tokens, len(tokens)


def _read(path: Path) -> str:
    from comparisons.util.errors import CompareError

    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CompareError(f"--file: there is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CompareError(f"--file: {path} can't be read as UTF-8 text: {error}.") from error


def _one(lm: LM, along: Along, tokens: tuple[list[int], int], html: Path | None, png: Path | None, json: bool) -> int:
    from comparisons.interpret.figures import trace_page, trace_png
    from comparisons.interpret.terminal import show_trace
    from comparisons.interpret.trace import make_trace

    trace = make_trace(lm, *tokens, along)
    deliver(trace, show_trace, lambda: trace_png(trace), png, json)
    if html is not None:
        write_file(html, trace_page(trace, trace.layers[len(trace.layers) // 2]).encode(), json)
    return 0


def _groups(
    lm: LM, along: Along, groups: list[Group], letters: bool, reads: dict[str, Any], png: Path | None, json: bool
) -> int:
    from comparisons.interpret.figures import groups_png
    from comparisons.interpret.groups import trace_groups
    from comparisons.interpret.terminal import show_groups

    new_tokens = 20 if reads["generate"] is None else reads["generate"]
    before = 10 if reads["before"] is None else reads["before"]
    trace = trace_groups(lm, groups, along, new_tokens, before, letters)
    deliver(trace, show_groups, lambda: groups_png(trace), png, json)
    return 0
