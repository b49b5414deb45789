"""What methods that steer by vectors share: activations of contrast pairs, the layer's choice, the files of a fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.intervention import Edit, Intervention, Positions
from comparisons.method.interface import Fit, Method, Use, use_only
from comparisons.method.vector_files import load_vectors
from comparisons.util.errors import CompareError

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

    from comparisons.dataset.behaviors import Behavior
    from comparisons.dataset.items import Item, Measure
    from comparisons.engine.activations import ContrastMeans, Read
    from comparisons.model.lm import LM

FILE = "vectors.safetensors"
Reading = Literal["auto", "letter", "answer", "prompt_end"]
"""Where contrast pairs are read: at the "letter", over the "answer"'s text, by what the run measures ("auto"), or at
the last prompt token ("prompt_end"), where a pair is its question alone under the behavior's two system prompts."""

READ = "read"
"""Name of a method's setting that is a `Reading`."""

SMALLEST = 1e-12
"""A norm below this is taken for it, where something is divided by it."""


@dataclass(frozen=True)
class LayerVector(Method):
    """Adds one layer's vector, of all that `fit` wrote by `write_vectors`, from the last prompt token on.

    Attributes:
        layer: 0-based block; "auto" is chosen on dev.
    """

    layer: int | Literal["auto"] = use_only("auto")

    fits: ClassVar[Literal["direction", "behavior", "never"]] = "behavior"

    def candidates(self, blocks: int) -> Sequence[Self]:
        """A candidate a layer, where the layer is open."""
        return [replace(self, layer=layer) for layer in range(blocks)] if self.layer == "auto" else ()

    def fit_passes(self) -> float:
        """Two for a method whose setting `read` is "prompt_end": two prompts a question, in place of one."""
        return 2.0 if self.settings().get(READ) == "prompt_end" else 1.0

    def chosen_layer(self) -> int:
        """The layer; raises CompareError where none is chosen yet."""
        if self.layer == "auto":
            name = type(self).__module__.rpartition(".")[2]
            raise CompareError(f"{name}.layer is still auto: choose a layer on dev first, or set {name}.layer=N.")
        return self.layer

    def intervene(self, use: Use) -> Intervention:
        """The layer's vector, times the signed strength."""
        layer = self.chosen_layer()
        return Intervention(edits=(Edit(layer, read_vector(use.fitted, layer), multiplier=use.signed),))


@dataclass(frozen=True)
class PlacedVector(LayerVector):
    """Adds one layer's vector where a setting says.

    Attributes:
        positions: to which tokens: prompt_end, all, last, answer, thought, prompt_first:k or response_first:k.
    """

    positions: str = use_only("prompt_end")

    def __post_init__(self) -> None:
        Positions.parse(self.positions)  # what is no such name is said before anything is run

    def intervene(self, use: Use) -> Intervention:
        return self.adds(read_vector(use.fitted, self.chosen_layer()), use.signed)

    def adds(self, vector: torch.Tensor, multiplier: float) -> Intervention:
        """The intervention that adds so many times a vector [width] there."""
        edit = Edit(self.chosen_layer(), vector, multiplier=multiplier, positions=self.positions)
        return Intervention(edits=(edit,))


def write_vectors(folder: Path, vectors: torch.Tensor) -> None:
    """Writes the vectors of all layers, [layers, width] or [layers, k, width], as float32 into a fit's folder."""
    from safetensors.torch import save_file

    save_file({"vectors": vectors.float().contiguous()}, folder / FILE)


def read_vectors(folder: Path) -> torch.Tensor:
    """What `write_vectors` wrote."""
    from safetensors.torch import load_file

    return load_file(folder / FILE)["vectors"]


def read_vector(folder: Path, layer: int) -> torch.Tensor:
    """One layer of what `write_vectors` wrote.

    Raises:
        CompareError: there is no such layer.
    """
    from safetensors import safe_open

    with safe_open(folder / FILE, framework="pt") as file:
        vectors = file.get_slice("vectors")
        count = vectors.get_shape()[0]
        if not 0 <= layer < count:
            raise CompareError(f"layer {layer} is out of range: there are layers 0 to {count - 1}.")
        vector: torch.Tensor = vectors[layer]
    return vector


def vectors_of_file(path: Path, lm: LM) -> torch.Tensor:
    """Vectors fitted elsewhere, [layers, width] float32, from a file of `compare vectors`.

    Returns:
        NaN at the model's layers that the file lacks.

    Raises:
        CompareError: it can't be read, or is for another width or a deeper model.
    """
    import torch

    vectors = torch.full((len(lm.blocks), lm.width), torch.nan)
    for layer, vector in load_vectors(path).check_model(lm, str(path)).layers.items():
        vectors[layer] = vector
    return vectors


def reading(fit: Fit, read: Reading) -> Literal["letter", "answer", "prompt_end"]:
    """Where pairs are read, with "auto" replaced."""
    return reading_by(read, fit.measure)


def where_read(read: Reading, measure: Measure, behavior: Behavior, exchanged: frozenset[int] = frozenset()) -> Read:
    """Where a behavior's pairs are read, with what that needs.

    Args:
        read: as set.
        measure: by what is measured, for "auto".
        behavior: whose system prompts are read under.
        exchanged: see `Fit`.

    Raises:
        CompareError: the behavior has no system prompts.
    """
    from comparisons.engine.activations import PromptEnd

    where = reading_by(read, measure)
    if where != "prompt_end":
        return where
    return PromptEnd((behavior.system_prompt("pos"), behavior.system_prompt("neg")), exchanged)


def reading_by(read: Reading, measure: Measure) -> Literal["letter", "answer", "prompt_end"]:
    """Where pairs are read, with "auto" replaced by what is measured."""
    if read == "auto":
        return "answer" if measure == "answers" else "letter"
    return read


def _read(fit: Fit, read: Reading) -> Read:
    return where_read(read, fit.measure, fit.behavior, fit.exchanged)


def contrast_activations(
    fit: Fit, layers: Sequence[int] | None = None, read: Reading = "auto"
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Block outputs of the training pairs' answers, batch by batch, in about one pass over the prompts.

    Source: Rimsky et al. 2024, section 3, for the letter's token; over an answer's text they are averaged at the
    positions that predict its tokens (Chen et al. 2025, persona vectors, section 2). At "prompt_end" a pair is its
    question's stem under the behavior's two system prompts, the one for it in the matching answer's place (Vogel 2024,
    repeng; Chen et al. 2025): the prompt of two answers ends alike, so that no answer is read. `fit.below` is in place,
    its system prompt before the pair's.

    Args:
        fit: whose pairs are read.
        layers: 0-based blocks; all by default.
        read: where.

    Yields:
        Indices into `fit.behavior.train`, and their activations [pairs, 2, layers, width], float32 on the CPU, the
        matching answer first. Pairs longer than the model's context are left out.
    """
    from comparisons.engine import activations

    yield from activations.contrast_activations(fit.lm, fit.behavior.train, layers, fit.below, _read(fit, read))


def pair_activations(fit: Fit, read: Reading = "auto") -> torch.Tensor:
    """What `contrast_activations` yields at all layers, put together: [pairs, 2, layers, width]."""
    import torch

    return torch.cat([batch for _, batch in contrast_activations(fit, read=read)])


def contrast_means(fit: Fit, items: Sequence[Item] | None = None, read: Reading = "auto") -> ContrastMeans:
    """Means over contrast pairs of matching minus contrast activations, at every layer; holds no activations.

    Args:
        fit: whose model is read, with `fit.below` in place.
        items: the pairs; `fit.behavior.train` by default.
        read: where.

    Returns:
        `matching`, the mean over all pairs, and `letter`, the direction from one letter to the other, None where all
        pairs match under one letter; both [layers, width] float64.
    """
    from comparisons.engine import activations

    pairs = fit.behavior.train if items is None else items
    return activations.contrast_means(fit.lm, pairs, fit.below, _read(fit, read))


def prompt_activations(fit: Fit, questions: Sequence[str]) -> torch.Tensor:
    """Block outputs at the last token of each question's prompt, `fit.below` in place: [questions, layers, width].

    Prompts longer than the model's context are left out.
    """
    from comparisons.engine.activations import prompt_end_activations

    found = prompt_end_activations(fit.lm, questions, below=fit.below)
    return found[~found.isnan().flatten(1).any(dim=1)]


def mean_difference(fit: Fit) -> torch.Tensor:
    """The training pairs' mean difference, matching minus contrast answer, [layers, width] float32."""
    return contrast_means(fit).matching.float()


def unit(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors [..., width] of norm 1; one of no length stays."""
    scaled: torch.Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=SMALLEST)
    return scaled


def scaled_like_difference(directions: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
    """Directions with the norm and the side of the mean difference of pairs, which makes doses comparable.

    Args:
        directions: [layers, width], of any norm and sign.
        pairs: see `pair_activations`.
    """
    import torch

    mean = (pairs[:, 0] - pairs[:, 1]).double().mean(dim=0)
    units = unit(directions.double())
    side = torch.where((units * mean).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
    scaled: torch.Tensor = side * mean.norm(dim=-1, keepdim=True) * units
    return scaled.float()


def block_outputs(lm: LM, ids: Sequence[int]) -> torch.Tensor:
    """The output of every block at every token of one text, [layers, tokens, width] float32 on the CPU."""
    import torch

    from comparisons.engine.hooks import captured

    layers = range(len(lm.blocks))
    tokens = torch.tensor([ids], device=lm.device)
    with torch.no_grad(), captured(lm, layers, lambda hidden, layer: hidden) as outputs:
        lm.model(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False)
    return torch.stack([outputs[layer][0].float().cpu() for layer in layers])
