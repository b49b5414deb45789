"""What `compare trace` and `compare lens` look at: the model, a behavior and its items, and vectors to look along."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from comparisons.dataset.behaviors import Behavior, Library
from comparisons.dataset.checks import warn_of_letters
from comparisons.method.vectors import Reading, reading_by, where_read
from comparisons.model.source import ModelSource
from comparisons.results.gates import LETTERISH
from comparisons.util.artifacts import CHECKPOINTS, Store
from comparisons.util.errors import CompareError
from comparisons.util.layers import layer_ranges
from comparisons.util.plugins import package_version
from comparisons.util.table import number

if TYPE_CHECKING:
    from comparisons.dataset.items import Item
    from comparisons.method.vector_files import Vectors
    from comparisons.model.lm import LM
    from comparisons.model.prompts import ChoicePrompt


VECTORS, LETTERS = "vectors.safetensors", "letters.safetensors"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelQuery:
    """What is to be looked at; the model is loaded once the rest has been checked.

    Attributes:
        source: the model.
        data: a folder or file, or the name of what comes along.
        behavior: whose items are read, and on whose pairs vectors are fitted; None for no behavior.
        train_items: how many of the pairs; None for all.
        vectors: a file, in place of fitting.
        read: where the pairs are read that vectors are fitted on; "auto" reads at the letter where the items have
            letters of their own, else over the answers.
        system: a system prompt to read with.
        seed: of the subset of pairs.
    """

    source: ModelSource
    data: Path
    behavior: str | None = None
    train_items: int | None = None
    vectors: Path | None = None
    read: Reading = "auto"
    system: str | None = None
    seed: int = 0

    def load(self) -> LM:
        """The model."""
        from comparisons.model.loading import load

        return load(self.source)

    def find_behavior(self) -> Behavior | None:
        """The behavior that is named, if one is."""
        if self.train_items is not None and self.train_items < 1:
            raise CompareError(f"--train-items must be at least 1, not {self.train_items}.")
        if self.behavior is None:
            return None
        return Library.open(self.data).behavior(self.behavior).limited(self.train_items, None, self.seed)

    def reading(self, behavior: Behavior) -> Literal["letter", "answer", "prompt_end"]:
        """Where the behavior's pairs are read."""
        return reading_by(self.read, "letters" if behavior.lettered else "answers")

    def find_vectors(self, lm: LM, behavior: Behavior | None) -> tuple[Vectors, str]:
        """Vectors by layer, and what they are in words: those of the file, or fitted on the behavior."""
        if self.vectors is not None:
            return _of_file(lm, self.vectors)
        if behavior is None:
            raise CompareError("no vectors: name a --behavior to fit them on, or a file by --vectors.")
        read = self.reading(behavior)
        words = f"the {behavior.name} vectors of {self.data.name} (mean differences{WHERE[read]})"
        return _fitted(lm, behavior, read), words


def find_item(behavior: Behavior | None, place: int) -> Item:
    """A test item by its place, from 0."""
    if behavior is None:
        raise CompareError("--item is an item of a behavior: name it by --behavior.")
    if not 0 <= place < len(behavior.test):
        raise CompareError(
            f"--item {place} is out of range: {behavior.name} has test items 0 to {len(behavior.test) - 1}."
        )
    return behavior.test[place]


def item_tokens(lm: LM, item: Item, letters: bool, system: str | None) -> tuple[list[int], int]:
    """An item with its matching answer, a letter or the text: the tokens, and how many of them are the prompt's.

    Raises:
        CompareError: the text is asked for, and the item has none.
    """
    from comparisons.engine.completions import completion_tails

    if letters:
        shown = lm.choice_prompt(item.question, (item.matching, item.contrast), system)
        return [*shown.ids, shown.targets[0]], shown.prompt_end + 1
    if not item.texts:
        raise CompareError(f"the item {item.id} has no texts to read as its answers: use --read letter.")
    found = completion_tails(lm, 0, lm.prompt(item.stem, system), item.texts[:1])
    return [*found.prefix, *found.tails[0]], len(found.prefix) + found.shared[0]


def answer_prompt(lm: LM, item: Item, system: str | None) -> ChoicePrompt:
    """An item up to the token that decides between its answers' texts, which are read in the place of letters.

    Raises:
        CompareError: it has no two texts, or one begins the other.
    """
    from comparisons.engine.completions import completion_tails
    from comparisons.model.prompts import ChoicePrompt, common_prefix

    found = completion_tails(lm, 0, lm.prompt(item.stem, system), item.texts) if len(item.texts) == 2 else None
    end = common_prefix(*found.tails) if found else 0
    if found is None or end == min(map(len, found.tails)):
        raise CompareError(f"the item {item.id} has no two texts of which neither begins the other: use --read letter.")
    first, second = found.tails
    return ChoicePrompt((*found.prefix, *first[:end]), len(found.prefix), (first[end], second[end]))


WHERE = {"letter": "", "answer": " over the answers", "prompt_end": " where the prompts end"}
"""What is said of vectors by where their pairs were read."""


def _fitted(lm: LM, behavior: Behavior, read: Reading) -> Vectors:
    """Mean activation differences of the behavior's contrast pairs, matching minus contrast answer, at every layer.

    Fitted once, and kept where runs keep their fits; where they are largely a liking for a letter, that is said.

    Source: Rimsky et al. 2024, section 3.
    """
    from comparisons.experiment.fitting import PACKAGES
    from comparisons.method.vector_files import load_vectors

    if read == "letter":
        warn_of_letters(behavior.name, behavior.train)
    parts = {
        "model": lm.digest,
        "device": lm.device.type,
        "behavior": behavior.digest,
        "read": read,
        "versions": {package: package_version(package) for package in PACKAGES},
    }
    fit = partial(_fit, lm, behavior, read)
    found = Store(CHECKPOINTS).get(f"mean-differences-{behavior.name}", parts, fit).path
    vectors = load_vectors(found / VECTORS)
    if (found / LETTERS).exists():
        _say_letters(behavior.name, vectors, load_vectors(found / LETTERS))
    return vectors


def _fit(lm: LM, behavior: Behavior, read: Reading, out: Path) -> None:
    """Writes the vectors, and the direction between the letters where there is one."""
    from comparisons.engine.activations import contrast_means
    from comparisons.method.vector_files import Vectors, save_vectors

    means = contrast_means(lm, behavior.train, read=where_read(read, "letters", behavior))
    save_vectors(out / VECTORS, Vectors(dict(enumerate(means.matching))))
    if read == "letter" and means.letter is not None:
        save_vectors(out / LETTERS, Vectors(dict(enumerate(means.letter))))


def _say_letters(name: str, vectors: Vectors, letters: Vectors) -> None:
    """Says at which layers the vectors are largely the direction between the letters."""
    from torch import cosine_similarity

    cosines = {layer: float(cosine_similarity(v, letters.layers[layer], 0)) for layer, v in vectors.layers.items()}
    found = [layer for layer, cosine in cosines.items() if abs(cosine) > LETTERISH]
    if found:
        most = number(max((cosines[layer] for layer in found), key=abs), signed=True, places=2)
        text = "%s: the vectors of layers %s are largely a liking for a letter (cosine with the direction between the "
        text += "letters up to %s): --read answer reads the answers' texts."
        log.warning(text, name, layer_ranges(found), most)


def _of_file(lm: LM, path: Path) -> tuple[Vectors, str]:
    """The vectors of a file, and what they are in words: the file's name, their behavior and another model of theirs.

    Raises:
        CompareError: the file can't be read, or its vectors don't fit the model's width and layers.
    """
    from comparisons.method.vector_files import load_vectors

    vectors = load_vectors(path).check_model(lm, str(path))
    origin = vectors.origin
    foreign = origin.digest is not None and origin.digest != lm.digest
    parts = (origin.behavior, f"fitted on {origin.model}" if foreign else None)
    words = ", ".join(part for part in parts if part)
    return vectors, f"the vectors of {path.name}" + (f" ({words})" if words else "")
