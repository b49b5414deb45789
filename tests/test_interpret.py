"""Traces and lenses against plain hooks, `output_hidden_states` and numpy, on every family."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from comparisons.engine.inspection import SITES, Parts, answered, block_parts, decoded, projections
from comparisons.interpret.figures import groups_png, lens_png, trace_page, trace_png
from comparisons.interpret.groups import make_groups, trace_groups
from comparisons.interpret.lens import LensPoint, read_lens
from comparisons.interpret.query import answer_prompt, item_tokens
from comparisons.interpret.terminal import lens_table, map_table, show_trace
from comparisons.interpret.trace import Along, Trace, make_trace
from comparisons.interpret.words import pieces, shown
from comparisons.intervention import Edit, Intervention
from comparisons.model.lm import LM
from comparisons.model.prompts import ChoicePrompt
from tests.oracle import edited
from tests.places import complaint
from tests.tiny import FAMILIES, tiny_behavior, tiny_item, tiny_lm

NASTY = "a <script>alert(\"1\")</script> & <b onclick='x'> $a_b$ [red]x[/red]\n\x1b[31m"


def vectors(lm: LM, seed: int = 0) -> dict[int, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {layer: 3 * torch.randn(lm.width, generator=generator) for layer in range(len(lm.blocks))}


def asked(lm: LM) -> ChoicePrompt:
    return lm.choice_prompt(tiny_item(0).question, ("A", "B"))


def hooked(lm: LM, tokens: Any) -> np.ndarray:
    """Every block's output, [layers, tokens, width], and after the last one by a hook (its entry is normed)."""
    last: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        last.append(output[0] if isinstance(output, tuple) else output)

    handle = lm.blocks[-1].register_forward_hook(keep)
    with torch.no_grad():
        states = lm.model(torch.tensor([list(tokens)]), output_hidden_states=True).hidden_states
    handle.remove()
    return torch.cat([*states[1:-1], last[0]]).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_projections_equal_numpy_on_hidden_states(family: str) -> None:
    lm = tiny_lm(family)
    tokens, along, mark = asked(lm).ids, vectors(lm), lm.mark()
    # Together with shorter ones, so that rows are padded.
    found = projections(lm, [tokens[:7], tokens, tokens[:20]], along)
    cosines = projections(lm, [tokens], along, cosine=True)[0]
    # Before the oracle: transformers leaves hooks of its own behind once hidden states have been asked for.
    assert lm.mark() == mark
    states = hooked(lm, tokens)
    for layer, vector in along.items():
        unit = vector.numpy() / np.linalg.norm(vector.numpy())
        expected = states[layer] @ unit
        for rows, length in zip(found, (7, len(tokens), 20), strict=True):
            np.testing.assert_allclose(rows[layer], expected[:length], atol=2e-5)
        np.testing.assert_allclose(cosines[layer], expected / np.linalg.norm(states[layer], axis=1), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_lens_ends_in_the_models_own_logits(family: str) -> None:
    lm = tiny_lm(family)
    prompt, mark = asked(lm), lm.mark()
    last = len(prompt.ids) - 1
    parts = block_parts(lm, prompt.ids, prompt.prompt_end, last, Intervention())
    own = edited(lm.model, lm.blocks, list(prompt.ids), prompt.prompt_end, [])[last]
    torch.testing.assert_close(decoded(lm, parts.states[-1])[SITES.index("block")], own, atol=1e-5, rtol=0)
    assert lm.mark() == mark
    torch.testing.assert_close(parts.logps, own, atol=1e-5, rtol=0)
    states = torch.from_numpy(hooked(lm, prompt.ids))[:, last]
    torch.testing.assert_close(parts.states[:, SITES.index("block")], states, atol=1e-5, rtol=1e-5)
    # What the parts add is all that a block adds, behind the norms of Gemma and OLMo too.
    _, residual, mlp, block = parts.states.unbind(dim=1)
    torch.testing.assert_close(residual + mlp, block, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "norm", "name"),
    [
        ("llama", "post_attention_layernorm", "in"),
        ("gemma2", "pre_feedforward_layernorm", "in"),
        ("olmo2", "mlp", "in"),
        ("gpt2", "ln_2", "in"),
        ("gpt_neox", "attention", "out"),
        ("gemma3", "post_attention_layernorm", "out"),
    ],
)
def test_the_parts_are_where_they_join_the_residual_stream(family: str, norm: str, name: str) -> None:
    """What the module behind the residual reads is the residual; what a post-norm returns is the attention's part."""
    lm = tiny_lm(family)
    prompt = asked(lm)
    seen: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: Any) -> None:
        value = args[0] if name == "in" else output[0] if isinstance(output, tuple) else output
        seen.append(value[0, -1])

    handle = getattr(lm.blocks[2], norm).register_forward_hook(keep)
    parts: Parts = block_parts(lm, prompt.ids, prompt.prompt_end, len(prompt.ids) - 1, Intervention())
    handle.remove()
    site = SITES.index("residual" if name == "in" else "attention")
    torch.testing.assert_close(parts.states[2, site], seen[0], atol=1e-5, rtol=1e-5)


def test_blocks_that_are_no_sum_are_refused() -> None:
    lm = tiny_lm()
    block = lm.blocks[1]
    forward: Callable[..., torch.Tensor] = block.forward

    def scaled(*args: Any, **kwargs: Any) -> torch.Tensor:
        return 2 * forward(*args, **kwargs)

    block.forward = scaled
    prompt = asked(lm)
    said = complaint(lambda: block_parts(lm, prompt.ids, prompt.prompt_end, 3, Intervention()))
    assert "not the sum" in said


@pytest.mark.parametrize("site", ["block", "attention", "mlp", "block_input"])
def test_a_steered_lens_ends_in_the_steered_models_logits(site: str) -> None:
    lm = tiny_lm("gemma2")
    prompt = asked(lm)
    edit = Edit(1, vectors(lm)[1], multiplier=2.0, site=site)
    own = edited(lm.model, lm.blocks, list(prompt.ids), prompt.prompt_end, [edit])[-1].exp()
    lens = read_lens(lm, LensPoint(prompt, ("A", "B"), top=4), Intervention(edits=(edit,)))
    last = next(r for r in lens.readings if (r.layer, r.site) == (3, "block"))
    values, order = own.topk(4)
    assert [guess.id for guess in last.top] == order.tolist()
    np.testing.assert_allclose([guess.p for guess in last.top], values, atol=1e-5)
    np.testing.assert_allclose(last.letters, own[list(prompt.targets)], atol=1e-5)
    np.testing.assert_allclose(lens.final, last.letters, atol=1e-5)
    plain = read_lens(lm, LensPoint(prompt, ("A", "B")), Intervention())
    assert lens.final != pytest.approx(plain.final, abs=1e-4)


def test_means_are_over_items_aligned_at_the_end_of_the_prompt() -> None:
    lm = tiny_lm()
    behavior = tiny_behavior()
    labelled = tuple(dataclasses.replace(t, label=str(i % 3 != 0).lower()) for i, t in enumerate(behavior.test))
    behavior = dataclasses.replace(behavior, test=labelled)
    along = Along(vectors(lm), "v")
    groups = make_groups(behavior, 3, "label")
    assert [(g.name, [i.label for i in g.items]) for g in groups] == [
        ("label true", ["true"] * 3),
        ("label false", ["false"] * 3),
    ]
    found = trace_groups(lm, groups, along, new_tokens=4, before=5)
    for group, mean in zip(groups, found.groups, strict=True):
        for column, position in enumerate(found.positions):
            rows = []
            for item in group.items:
                ((tokens, length),) = answered(lm, [item.question], Intervention(), 4)
                if length - 1 + position < len(tokens):
                    unit = along.vectors[2].numpy() / np.linalg.norm(along.vectors[2].numpy())
                    rows.append(hooked(lm, tokens)[2, length - 1 + position] @ unit)
            assert mean.counts[column] == len(rows)
            assert mean.values[2, column] == pytest.approx(np.mean(rows), abs=1e-5)
    assert found.positions[:6] == (-5, -4, -3, -2, -1, 0)
    difference = found.difference
    assert difference is not None
    np.testing.assert_allclose(difference, found.groups[0].values - found.groups[1].values)
    json.dumps(found.to_json(), allow_nan=False)
    assert groups_png(found) == groups_png(found)


def test_an_item_is_read_with_its_text_where_no_letter_is() -> None:
    lm, item = tiny_lm(), tiny_item(0)
    prompt = lm.tokenize(lm.prompt(item.stem, "Be kind."))
    tokens, end = item_tokens(lm, item, False, "Be kind.")
    assert tokens == lm.tokenize(f"{lm.prompt(item.stem, 'Be kind.')} {item.texts[0]}") and end == len(prompt)
    shown = answer_prompt(lm, item, None)
    yes, no = (lm.tokenize(f"{lm.prompt(item.stem)} {text}") for text in item.texts)
    first = next(i for i, (a, b) in enumerate(zip(yes, no, strict=False)) if a != b)
    assert (list(shown.ids), shown.targets) == (yes[:first], (yes[first], no[first]))
    assert shown.prompt_end == len(lm.tokenize(lm.prompt(item.stem))) - 1
    lens = read_lens(lm, LensPoint(shown, ("yes", "no")), Intervention())
    with torch.no_grad():
        plain = lm.model(torch.tensor([shown.ids])).logits[0, -1].softmax(-1)
    np.testing.assert_allclose(lens.final, plain[list(shown.targets)], atol=1e-6)


def test_two_system_prompts_on_the_same_items() -> None:
    behavior = tiny_behavior()
    groups = make_groups(behavior, 2, "system")
    assert [g.intervention.system for g in groups] == [behavior.system_prompt("pos"), behavior.system_prompt("neg")]
    assert groups[0].items == groups[1].items
    assert "two labels" in complaint(lambda: make_groups(behavior, 2, "label"))


def test_a_generated_answer_is_the_models_greedy_one() -> None:
    lm = tiny_lm()
    ((tokens, length),) = answered(lm, ["Would you mend the window?"], Intervention(), 5)
    prompt = lm.tokenize(lm.prompt("Would you mend the window?"))
    assert tokens[:length] == prompt
    for end in range(length, len(tokens)):
        with torch.no_grad():
            assert int(lm.model(torch.tensor([tokens[:end]])).logits[0, -1].argmax()) == tokens[end]


def a_trace(text: str = NASTY, layers: int = 4) -> Trace:
    lm = tiny_lm()
    ids = lm.tokenizer(text)["input_ids"]
    trace = make_trace(lm, ids, len(ids) - 2, Along({k: v for k, v in vectors(lm).items() if k < layers}, "<v>"))
    return dataclasses.replace(trace, model="<i>tiny</i>")


class Page(HTMLParser):
    """The tags and the text of a page's first open layer."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_escapes_everything_and_loads_nothing() -> None:
    page = trace_page(a_trace(), 1)
    found = Page(page)
    assert not found.tags & {"script", "i", "b", "v", "link", "img", "iframe"}
    assert not {name for name in found.attributes if name.startswith("on") or name in ("src", "href")}
    assert "\x1b" not in page and "://" not in page
    assert "a <script>alert(\"1\")</script> & <b onclick='x'> $a_b$ [red]x[/red]" in found.text
    assert page.count("<details") == 4 and page.count("<details open>") == 1


def test_the_map_fits_80_columns_and_shows_the_numbers() -> None:
    trace = a_trace()
    for layers in (4, 9, 32, 80):
        values = np.repeat(trace.values[:1], layers, axis=0)
        wide = dataclasses.replace(trace, layers=tuple(range(layers)), values=values)
        out = io.StringIO()
        Console(file=out, width=80).print(map_table(wide, 80))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= 80 and len(lines) == 2 + len(trace.ids)
        assert not any("…" in line[14:] for line in lines)
    out = io.StringIO()
    Console(file=out, width=80).print(map_table(trace, 80))
    numbers = re.findall(r"[+-]\d+\.\d+", out.getvalue().splitlines()[2])
    np.testing.assert_allclose([float(n) for n in numbers], trace.values[:, 0], atol=6e-3)
    assert "\x1b" not in out.getvalue()


def test_one_layer_is_coloured_running_text_where_there_are_colours() -> None:
    trace = dataclasses.replace(a_trace(), layers=(2,), values=a_trace().values[2:3])
    out = io.StringIO()
    show_trace(trace, Console(file=out, width=80, force_terminal=True, color_system="truecolor"))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert '<script>alert("1")</script>' in plain and "[red]x[/red]" in plain and "layer 2" in plain
    assert "\x1b" not in plain


def test_pictures_and_tables_take_any_text() -> None:
    assert trace_png(a_trace()).startswith(b"\x89PNG")
    lm = tiny_lm()
    lens = read_lens(lm, LensPoint(asked(lm), ("A", "B"), top=2), Intervention(), "$x$")
    assert lens_png([lens, lens]).startswith(b"\x89PNG")
    out = io.StringIO()
    Console(file=out, width=80).print(lens_table(lens, 80))
    assert max(map(len, out.getvalue().splitlines())) <= 80 and "…" not in out.getvalue().splitlines()[0]


def test_a_lens_tells_layers_apart_that_give_a_letter_next_to_nothing() -> None:
    lens = read_lens(tiny_lm(), LensPoint(asked(tiny_lm()), ("A", "B"), top=1), Intervention())
    small = {0: (2e-12, 3e-7), 1: (0.0, 1e-4), 2: (0.004, 0.05), 3: (0.4, 1.0)}
    readings = tuple(dataclasses.replace(r, letters=small[r.layer]) for r in lens.readings)
    out = io.StringIO()
    show = dataclasses.replace(lens, readings=readings, letters=("Certainly, yes", "B"))
    Console(file=out, width=80).print(lens_table(show, 80))
    head, _, *lines = out.getvalue().splitlines()
    assert head.split() == ["layer", "attention", "residual", "mlp", "block", "p(Certa…)", "p(B)"]
    assert [line.split()[-2:] for line in lines] == [["2e-12", "3e-7"], ["0", "1e-4"], ["4e-3", ".05"], [".40", "1.00"]]


def test_pieces_join_to_the_text() -> None:
    lm = tiny_lm()
    text = "Would you like to\n\ndo  that? 🙂"
    ids = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    # An emoji may be cut into tokens that are no characters.
    assert "".join(pieces(lm, ids)).startswith("Would you like to\n\ndo  that? ")
    assert shown(" a\n\x07", 10) == "␣a⏎·"
