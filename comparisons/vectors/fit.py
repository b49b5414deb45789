"""Fits vectors: mean differences of contrast pairs, all layers of all behaviors with one model in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comparisons.dataset.behaviors import Behavior, Library
from comparisons.dataset.checks import warn_of_letters
from comparisons.method.vector_files import MEAN_DIFFERENCE, SUFFIX, Origin, Vectors, save_vectors
from comparisons.method.vectors import Reading, reading_by, where_read
from comparisons.util.layers import Parts, layer_ranges, layers_within
from comparisons.util.table import NOTHING, Column, Row, Table, number
from comparisons.vectors.contrast import FOLDER, Contrast, Pair, save_contrast

if TYPE_CHECKING:
    from comparisons.model.lm import LM


@dataclass(frozen=True)
class Fitted:
    """What was fitted for one behavior.

    Attributes:
        activations: the file of the contrast activations, None where they were not asked for.
        left_out: how many pairs are longer than the model's context; None where nothing was fitted.
    """

    vectors: Vectors
    path: Path
    activations: Path | None
    left_out: int | None


def fitted_table(files: Sequence[Fitted]) -> Table:
    """A line a file."""
    heads = ("behavior", "model", "read", "pairs", "left out", "layers", "width", "smallest norm", "largest norm")
    rows = []
    for record in fitted_records(files):
        norms = record["norms"].values()
        record["model"] = record["model"] and Path(record["model"]).name
        cells = [str(NOTHING if record[name] is None else record[name]) for name in heads[:7]]
        rows.append(Row((*cells, number(min(norms)), number(max(norms))), ""))
    columns = [Column(head, align="left" if place < 3 else "right") for place, head in enumerate(heads)]
    return Table(tuple(columns), tuple(rows))


def fitted_records(files: Sequence[Fitted]) -> list[dict[str, Any]]:
    """One a file."""
    return [
        {
            "behavior": fitted.vectors.origin.behavior,
            "model": fitted.vectors.origin.model,
            "read": fitted.vectors.origin.read,
            "pairs": fitted.vectors.origin.pairs,
            "left out": fitted.left_out,
            "layers": layer_ranges(fitted.vectors.layers),
            "width": fitted.vectors.width,
            "norms": fitted.vectors.norms,
            "file": str(fitted.path),
            "activations": fitted.activations and str(fitted.activations),
        }
        for fitted in files
    ]


def read_behaviors(data: Path, names: Sequence[str], train_items: int | None, seed: int) -> list[Behavior]:
    """The behaviors to fit on; all of the data's where none is named.

    Raises:
        CompareError: one is unknown, or its files are wrong.
    """
    library = Library.open(data)
    return [library.behavior(name).limited(train_items, None, seed) for name in names or library.names]


def fit_files(
    lm: LM,
    behaviors: Sequence[Behavior],
    layers: Parts,
    out: Path,
    save_activations: bool = False,
    read: Reading = "auto",
) -> Iterator[Fitted]:
    """Fits each behavior and writes `<behavior>.safetensors`, and `activations/<behavior>.safetensors` where asked for.

    Raises:
        CompareError: a layer is out of range, a file can't be written, too many pairs exceed the context, or the
            behavior lacks what is to be read.
    """
    wanted = layers_within(layers, len(lm.blocks), lm.name)
    for behavior in behaviors:
        vectors, contrast = fit_vectors(lm, behavior, wanted, save_activations, read)
        path = out / f"{behavior.name}{SUFFIX}"
        save_vectors(path, vectors)
        activations = None
        if contrast is not None:
            activations = out / FOLDER / f"{behavior.name}{SUFFIX}"
            save_contrast(activations, contrast)
        yield Fitted(vectors, path, activations, len(behavior.train) - (vectors.origin.pairs or 0))


def fit_vectors(
    lm: LM, behavior: Behavior, layers: Sequence[int], keep_activations: bool = False, read: Reading = "auto"
) -> tuple[Vectors, Contrast | None]:
    """Mean differences of a behavior's contrast pairs, in one pass over them.

    Source: Rimsky et al. 2024, section 3; see `contrast_activations`.

    Args:
        layers: 0-based blocks.
        read: where; "auto" reads at the letter where the items have letters of their own, else over the answers.
    """
    from comparisons.engine.activations import contrast_activations, means_of

    items, read = behavior.train, reading_by(read, "letters" if behavior.lettered else "answers")
    if read == "letter":
        warn_of_letters(behavior.name, items)
    batches = contrast_activations(lm, items, layers, read=where_read(read, "letters", behavior))
    kept = list(batches) if keep_activations else None
    means = means_of(batches if kept is None else kept, items)
    origin = replace(
        origin_of(lm), behavior=behavior.name, data_hash=behavior.digest, pairs=sum(means.counts), read=read
    )
    vectors = Vectors(dict(zip(layers, means.matching.float(), strict=True)), origin)
    if kept is None:
        return vectors, None
    import torch

    # Batches come by length; the file has the pairs in the items' order.
    indices = [index for batch, _ in kept for index in batch]
    order = sorted(range(len(indices)), key=indices.__getitem__)
    activations = torch.cat([batch for _, batch in kept])[order]
    pairs = tuple(Pair.of(items[indices[place]], read == "letter") for place in order)
    return vectors, Contrast(activations, tuple(layers), pairs, origin)


def origin_of(lm: LM) -> Origin:
    """What a model tells about vectors that are fitted on it."""
    return replace(
        origin_of_shape(lm),
        kind=MEAN_DIFFERENCE,
        revision=getattr(lm.model.config, "_commit_hash", None),
        digest=lm.digest,
        prompt_format=lm.prompt_format,
    )


def origin_of_shape(lm: LM, origin: Origin | None = None) -> Origin:
    """An origin with what a model tells without its weights."""
    return replace(
        origin or Origin(),
        model=lm.name,
        model_type=lm.config.model_type,
        blocks=len(lm.blocks),
        # Inside the base model, where lm-evaluation-harness looks for it.
        hookpoint=lm.blocks_path.removeprefix(f"{lm.model.base_model_prefix}."),
    )
