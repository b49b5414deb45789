"""What a family's tiny random model does in this program, held to plain code and to transformers' own generation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from comparisons.engine.activations import contrast_activations
from comparisons.engine.adapters import adapted
from comparisons.engine.choices import choice_logps
from comparisons.engine.generate import generate
from comparisons.engine.trial import continuing, packing, pads
from comparisons.intervention import Edit, Intervention
from comparisons.machine.shape import read_shape
from comparisons.method import Fit, Use
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from comparisons.util.errors import CompareError
from methods.sft import SFT
from tests.families import plain
from tests.families.known import tiny_model
from tests.tiny import tiny_behavior, tiny_item, tiny_tokenizer

LOGPS, ACTIVATIONS = 1e-4, 1e-3
"""How far log-probabilities, in nats, and activations, relative to the largest, may be from plain code's."""

QUESTIONS = ("Why?", "Would you like to help me with a plan for the day?", "Is it true that the answer is no?")
SYSTEM = "You help the user with a plan."
TOKENS = 8
LAYER = 1


@dataclass
class Row:
    """What was found of a family.

    Attributes:
        name: its `model_type`.
        cells: by column, what was found there; a column that could not be looked at is missing.
        refused: the line that refuses it; None where it loads.
        broken: what is wrong, by column: numbers that differ, or an exception that is no line for users.
    """

    name: str
    cells: dict[str, str] = field(default_factory=dict)
    refused: str | None = None
    broken: dict[str, str] = field(default_factory=dict)


class Wrong(Exception):
    """A number or a text differs from plain code's."""


def look(name: str, folder: Path) -> Row:
    """Saves a family's tiny model in a folder, loads it as a user would, and looks at every column."""
    row = Row(name)
    model, tokenizer = tiny_model(name), tiny_tokenizer()
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    try:
        lm = load(ModelSource(str(folder / "model")))
    except CompareError as error:
        row.refused = str(error).replace(str(folder / "model"), name)
        return row
    probe = [*range(5, 25)]
    with torch.no_grad():
        # What transformers 5.24 makes of Llama 4 with images fails on text.
        text = model.language_model if name == "llama4" else model
        saved = text(torch.tensor([probe])).logits[0, -1].log_softmax(-1)
    if not torch.allclose(plain.logps(lm, probe), saved, atol=LOGPS):
        row.broken["loads"] = "other weights than were saved"
    for column, check in CHECKS.items():
        try:
            row.cells[column] = check(lm, folder)
        except CompareError as error:
            row.cells[column] = f"refused: {error}".replace(str(folder / "model"), name)
        except Wrong as error:
            row.broken[column] = str(error)
        except Exception as error:  # a model's own code may raise anything
            row.broken[column] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return row


def _vector(lm: LM, seed: int = 1) -> torch.Tensor:
    return torch.randn(lm.width, generator=torch.Generator().manual_seed(seed)) * 3


def _loads(lm: LM, folder: Path) -> str:
    """All that is loaded is what `compare doctor` counts, and the blocks are the text's."""
    counted, parameters = read_shape(ModelSource(str(folder / "model"))).parameters, lm.parameters
    if counted != parameters:
        raise Wrong(f"{counted} parameters are counted of {parameters}")
    if len(lm.blocks) != lm.config.num_hidden_layers or "vis" in lm.blocks_path:
        raise Wrong(f"{len(lm.blocks)} blocks at {lm.blocks_path}")
    return f"`{lm.blocks_path}`"


def _prompt(lm: LM, folder: Path) -> str:
    """The prompt that is checked at load is the template's own tokens."""
    turns = [{"role": "user", "content": QUESTIONS[1]}]
    own = lm.tokenizer.apply_chat_template(turns, tokenize=True, add_generation_prompt=True, return_dict=False)
    if lm.tokenize(lm.prompt(QUESTIONS[1])) != list(own):
        raise Wrong("other tokens than the template's")
    return "mended" if lm.prompts.reading.mended else "yes"


def _packing(lm: LM, folder: Path) -> str:
    """How branches run, and that letters under edits are plain code's, in questions of several lengths."""
    with _debugged("comparisons.engine.trial") as said:
        kind = packing(lm)
    questions = [tiny_item(i).present("given") for i in range(3)]
    questions = [type(q)(f"{'Well then. ' * i}{q.question}", q.matching, q.contrast) for i, q in enumerate(questions)]
    vector = _vector(lm)
    # Those of one call share a pass: where one edits the whole prompt, none is packed.
    for positions in ("prompt_end", "all"):
        given = [Intervention(), Intervention(edits=(Edit(LAYER, vector, positions=positions),))]
        found = choice_logps(lm, questions, given).logps
        for j, question in enumerate(questions):
            prompt = lm.choice_prompt(question.question, (question.matching, *question.contrast))
            targets, start = list(prompt.targets), prompt.prompt_end if positions == "prompt_end" else 0
            _close(found[0, j], plain.logps(lm, prompt.ids)[targets], LOGPS, "letters")
            with plain.edited(lm, LAYER, vector, plain.whole(start)):
                _close(found[1, j], plain.logps(lm, prompt.ids)[targets], LOGPS, f"letters edited at {positions}")
    return kind if kind != "rows" else f"rows: {_why(lm, said)}"


def _why(lm: LM, said: list[str]) -> str:
    """What the last way of packing came to: an exception, or other numbers."""
    if continuing(lm) != "cache" or not pads(lm):
        return "its state is more than keys and values"
    raised = said and "branches: " in said[-1]
    return "its code makes masks that branches can't have" if raised else "branches give other numbers"


def _caa(lm: LM, folder: Path) -> str:
    """Contrast activations at the letters, of every block."""
    items = [tiny_item(i) for i in range(3)]
    for indices, found in contrast_activations(lm, items):
        for row, i in enumerate(indices):
            prompt = lm.choice_prompt(items[i].question, (items[i].matching, *items[i].contrast))
            for side, target in enumerate(prompt.targets):
                ids = [*prompt.ids, target]
                expected = plain.activations(lm, ids).numpy()
                scale = float(np.abs(expected).max())
                _close(found[row, side].numpy() / scale, expected / scale, ACTIVATIONS, "activations")
    return "equal"


def _sft(lm: LM, folder: Path) -> str:
    """An adapter of one epoch lies on the text's blocks alone, is counted, and moves the letters."""
    from safetensors.torch import load_file

    method = SFT(learning_rate=1e-2, epochs=1, epoch=1, batch_size=8)
    out = folder / "sft"
    out.mkdir()
    behavior = tiny_behavior(8)
    before = lm.mark()
    method.fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), out))
    if lm.mark() != before:
        raise Wrong("training changed the model")
    fitted = method.intervene(Use(behavior, "pos", 1.0, out))
    assert fitted.adapter is not None
    tensors = load_file(fitted.adapter / "adapter_model.safetensors")
    outside = [name for name in tensors if lm.blocks_path not in name]
    if outside:
        raise Wrong(f"trained outside the blocks: {outside[0]}")
    # What has no gradient keeps the zeros that LoRA begins with.
    moved = {name.partition(".lora_B")[0] for name, tensor in tensors.items() if ".lora_B" in name and tensor.any()}
    trained = sum(tensor.numel() for name, tensor in tensors.items() if name.partition(".lora_")[0] in moved)
    if fitted.size() != trained:
        raise Wrong(f"{fitted.size()} parameters said, {trained} trained")
    shown = [item.present("given") for item in behavior.test[:2]]
    logps = choice_logps(lm, shown, [Intervention(), fitted]).logps
    if not np.abs(logps[1] - logps[0]).max() > 1e-3:
        raise Wrong("the adapter moves nothing")
    with adapted(lm, fitted.adapter):
        for j, question in enumerate(shown):
            prompt = lm.choice_prompt(question.question, (question.matching, *question.contrast))
            expected = plain.logps(lm, prompt.ids)[list(prompt.targets)].numpy()
            _close(logps[1, j], expected, LOGPS, "letters under the adapter")
    return "yes" if not fitted.untouched else f"yes, without {', '.join(_leaves(fitted.untouched))}"


def _leaves(names: list[str]) -> list[str]:
    return sorted({".".join(name.split(".")[-2:]) for name in names})


def _generation(lm: LM, folder: Path) -> str:
    """Greedy answers, plain and under an edit from the prompt's end on, are `model.generate`'s."""
    vector = _vector(lm)
    found = generate(lm, QUESTIONS, [Intervention(), Intervention(edits=(Edit(LAYER, vector),))], TOKENS)
    for column, question in enumerate(QUESTIONS):
        ids = lm.tokenize(lm.prompt(question))
        end = len(ids) - 1
        _same(found[0][column], plain.generated(lm, ids, TOKENS), "plain answer")
        with plain.edited(lm, LAYER, vector, plain.from_cache(end)):
            _same(found[1][column], plain.generated(lm, ids, TOKENS), "edited answer")
    return {"cache": "equal", "own": "equal, by its own cache", "text": "equal, by whole texts"}[str(lm.continuing)]


def _free_answers(lm: LM, folder: Path) -> str:
    """Answers under a system text and under edits of the prompt are those of whole texts, a prompt at a time."""
    vector = _vector(lm)
    everywhere = Edit(LAYER, vector, positions="all")
    given = [Intervention(system=SYSTEM), Intervention(edits=(everywhere,)), Intervention(SYSTEM, edits=(everywhere,))]
    found = generate(lm, QUESTIONS, given, TOKENS)
    for row, intervention in enumerate(given):
        for column, question in enumerate(QUESTIONS):
            ids = lm.tokenize(lm.prompt(question, intervention.system))
            if not intervention.edits:
                expected = plain.decoded(lm, ids, TOKENS)
            else:
                with plain.edited(lm, LAYER, vector, plain.whole(0)):
                    expected = plain.decoded(lm, ids, TOKENS)
            _same(found[row][column], expected, "answer")
    return "equal"


def _close(found: Any, expected: Any, tolerance: float, what: str) -> None:
    difference = float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max())
    if not difference <= tolerance:
        raise Wrong(f"{what} off by {difference:.2g}")


def _same(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise Wrong(f"{what} {found!r} for {expected!r}")


@contextmanager
def _debugged(name: str) -> Iterator[list[str]]:
    """Collects what a logger says while the context lasts, down to what is for debugging."""
    said: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno == logging.DEBUG:
                said.append(" ".join(record.getMessage().split()))

    log, handler = logging.getLogger(name), Handler(logging.DEBUG)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield said
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


CHECKS: dict[str, Callable[[LM, Path], str]] = {
    "loads": _loads,
    "prompt checked": _prompt,
    "packing": _packing,
    "caa": _caa,
    "sft": _sft,
    "generation": _generation,
    "free answers": _free_answers,
}
"""What is looked at, by the column of the table."""
