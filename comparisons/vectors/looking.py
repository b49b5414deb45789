"""Looks at files of vectors and activations: tables, with a picture and a CSV of each beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from comparisons.method.vector_files import Vectors, load_vectors
from comparisons.report.export import csv_text
from comparisons.report.figures import write_panels
from comparisons.report.panels import Panel
from comparisons.util.errors import CompareError
from comparisons.util.files import write_text
from comparisons.util.layers import Parts, layers_among
from comparisons.util.table import Table
from comparisons.vectors.contrast import Of, components, load_contrast
from comparisons.vectors.diagnose import diagnose
from comparisons.vectors.panels import CosinePanel, PathPanel, histogram_panels, points_panels, share_panels
from comparisons.vectors.similarity import behavior_cosines, layer_components, layer_cosines, model_cosines

By = Literal["layers", "behaviors", "models"]


@dataclass(frozen=True)
class Look:
    """What was found.

    Attributes:
        records: the same numbers, for JSON.
    """

    tables: tuple[tuple[str, Table], ...]
    records: list[dict[str, object]]
    files: tuple[Path, ...]


def look_at_similarity(paths: Sequence[Path], by: By | None, layers: Parts | None, out: Path | None) -> Look:
    """Cosines: between the layers of a file, between behaviors' files, or between two models' files of a behavior.

    Args:
        by: what is compared; by default layers for one file, models for two of one behavior, else behaviors.
        layers: which; all by default, of behaviors the middle one.
        out: where picture and CSV go; by default beside the first file.

    Raises:
        CompareError: a file can't be read, or they don't go together.
    """
    files = {path: load_vectors(path) for path in paths}
    by = by or _by(list(files.values()))
    loaded = list(files.values())
    names = _names(files)
    stem = paths[0].stem if len(paths) == 1 else by
    folder, written = out or paths[0].parent, list[Path]()
    if by == "behaviors":
        cosines = behavior_cosines(dict(zip(names, loaded, strict=True)), layers)
    elif by == "models":
        if len(paths) != 2:
            raise CompareError(f"--by models compares two files of one behavior, not {len(paths)}.")
        title = f"{loaded[0].origin.behavior or paths[0].stem}: {names[0]} (down) and {names[1]} (across)"
        cosines = [model_cosines(_kept(loaded[0], layers), _kept(loaded[1], layers), (names[0], names[1]), title)]
    else:
        kept = [_kept(vectors, layers) for vectors in loaded]
        cosines = [layer_cosines(vectors, name) for vectors, name in zip(kept, names, strict=True)]
        paths_of = [layer_components(vectors, name) for vectors, name in zip(kept, names, strict=True)]
        panels = [
            PathPanel(f"{p.title}: layers, {p.explained[0]:.0%} + {p.explained[1]:.0%} of variance", p)
            for p in paths_of
            if p is not None
        ]
        written += _pictures(folder, f"{stem}-layer-components", panels, "Layers on two components")
    pictures = [CosinePanel(matrix.title, matrix) for matrix in cosines]
    written = _pictures(folder, f"{stem}-similarity", pictures, "Cosines") + written
    records = [record for matrix in cosines for record in matrix.records]
    written.append(_csv(folder / f"{stem}-similarity.csv", records))
    return Look(tuple((matrix.title, matrix.table) for matrix in cosines), records, tuple(written))


def look_at_components(paths: Sequence[Path], layers: Parts, of: Of, out: Path | None) -> Look:
    """Contrast activations on two principal components at each layer, a picture a file.

    Raises:
        CompareError: a file can't be read, or a layer is missing.
    """
    tables, records, written = list[tuple[str, Table]](), list[dict[str, object]](), list[Path]()
    for path in paths:
        view = components(load_contrast(path), layers, of)
        # Both ways of looking have files of their own.
        kind = "components" if of == "activations" else "difference-components"
        folder, stem = out or path.parent, f"{path.stem}-{kind}"
        written += _pictures(folder, stem, points_panels(view), f"{view.name}: contrast activations")
        written.append(_csv(folder / f"{stem}.csv", view.records))
        tables.append((view.name, view.table))
        records += view.records
    return Look(tuple(tables), records, tuple(written))


def look_at_diagnosis(paths: Sequence[Path], layers: Parts, vectors: Path | None, out: Path | None) -> Look:
    """How often the positive half of a pair projects higher, norms, and histograms of projections.

    Raises:
        CompareError: a file can't be read, a layer is missing, or there are too few pairs.
    """
    given = None if vectors is None else load_vectors(vectors)
    tables, records, written = list[tuple[str, Table]](), list[dict[str, object]](), list[Path]()
    for path in paths:
        diagnosis = diagnose(load_contrast(path), layers, given)
        folder, stem = out or path.parent, path.stem
        written += _pictures(folder, f"{stem}-diagnosis", share_panels(diagnosis), diagnosis.name)
        written += _pictures(folder, f"{stem}-projections", histogram_panels(diagnosis), diagnosis.name)
        written.append(_csv(folder / f"{stem}-diagnosis.csv", diagnosis.records))
        tables.append((diagnosis.name, diagnosis.table))
        records += diagnosis.records
    return Look(tuple(tables), records, tuple(written))


def _by(files: Sequence[Vectors]) -> By:
    if len(files) == 1:
        return "layers"
    behaviors = [vectors.origin.behavior for vectors in files]
    same = len(set(behaviors)) == 1 and behaviors[0] is not None
    return "models" if len(files) == 2 and same else "behaviors"


def _names(files: dict[Path, Vectors]) -> list[str]:
    """What to call each file: whatever tells them all apart, or else their paths."""
    for names in (
        [vectors.origin.behavior for vectors in files.values()],
        [vectors.origin.model and Path(vectors.origin.model).name for vectors in files.values()],
        [path.stem for path in files],
    ):
        if None not in names and len(set(names)) == len(names):
            return [str(name) for name in names]
    return [str(path) for path in files]


def _kept(vectors: Vectors, layers: Parts | None) -> Vectors:
    return vectors if layers is None else vectors.only(layers_among(layers, vectors.layers, "the file"))


def _pictures(folder: Path, stem: str, panels: Sequence[Panel], text: str) -> list[Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = [folder / picture.name for picture in write_panels(folder, stem, panels, text)]
        for old in set(folder.glob(f"{stem}-[0-9]*.png")) - set(made):
            old.unlink()
        return made
    except OSError as error:
        raise CompareError(f"{folder} can't be written to: {error.strerror}.") from error


def _csv(path: Path, records: Sequence[dict[str, object]]) -> Path:
    header = list(dict.fromkeys(key for record in records for key in record))
    write_text(path, csv_text(header, [[record.get(key) for key in header] for record in records]))
    return path
