"""Looking at vectors: components, cosines and diagnoses by other code and on constructed cases."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from comparisons.report.terminal import rich_table
from comparisons.util.layers import layer_parts
from comparisons.vectors import Origin, Vectors, save_vectors
from comparisons.vectors.contrast import Contrast, Pair, components, follow, principal, save_contrast
from comparisons.vectors.diagnose import diagnose
from comparisons.vectors.looking import look_at_components, look_at_diagnosis, look_at_similarity
from comparisons.vectors.similarity import behavior_cosines, layer_components, layer_cosines, model_cosines
from tests.places import complaint

WIDTH = 12
ALL = layer_parts("all")


def contrast(
    *, pairs: int = 40, side: float = 3.0, letter: float = 1.0, label: float = 0.0, templates: int = 0, seed: int = 0
) -> Contrast:
    """Activations at layers 2 and 5 of which axis 0 is the side, axis 1 the letter, axis 2 the label, the rest noise.

    At layer 2 there is no side.
    """
    random = np.random.default_rng(seed)
    data = 0.1 * random.standard_normal((pairs, 2, 2, WIDTH))
    found = []
    for n in range(pairs):
        letters = ("A", "B") if n % 2 else ("B", "A")
        truth = "true" if n % 3 else "false"
        data[n, 0, 1, 0] += side
        data[n, 1, 1, 0] -= side
        for half in (0, 1):
            data[n, half, :, 1] += letter if letters[half] == "A" else -letter
        data[n, :, :, 2] += label if truth == "true" else -label
        template = f"t{n % templates}" if templates else None
        found.append(Pair(f"train/{n}", *letters, truth if label else None, template))
    origin = Origin(behavior="made", data_hash="d", model="m")
    return Contrast(torch.from_numpy(data).float(), (2, 5), tuple(found), origin)


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (3, 5)])
def test_components_are_those_of_a_singular_value_decomposition(shape: tuple[int, int]) -> None:
    points = np.random.default_rng(1).standard_normal(shape) * np.arange(1, shape[1] + 1)
    found = principal(points)
    left, sizes, _ = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    assert found.explained == pytest.approx((sizes**2 / (sizes**2).sum())[:2])
    np.testing.assert_allclose(np.abs(found.places), np.abs(left * sizes)[:, :2], atol=1e-8)


def test_points_that_do_not_differ_have_no_components() -> None:
    found = principal(np.ones((4, 3)))
    assert found.explained == (0.0, 0.0) and not found.places.any()
    assert principal(np.array([[0.0], [1.0], [5.0]])).explained == pytest.approx((1.0, 0.0))


def test_following_is_the_correlation_of_two_groups_and_the_ratio_of_more() -> None:
    random = np.random.default_rng(2)
    values, groups = random.standard_normal(50), [str(x) for x in random.integers(0, 2, 50)]
    expected = np.corrcoef(values, [group == "0" for group in groups])[0, 1]
    assert follow(values, groups) == pytest.approx(expected)
    assert follow(np.array([1.0, 1, 4, 4, 9, 9]), list("aabbcc")) == pytest.approx(1)
    assert follow(np.array([1.0, 2, 3]), ["a", None, "b"]) == pytest.approx(-1)
    assert follow(values, ["a"] * 50) is None and follow(np.ones(4), list("abab")) is None


def test_components_follow_what_was_put_in() -> None:
    found = components(contrast(label=0.5), ALL)
    first, second = found.views
    # At layer 2 the letter is the largest difference, then the label; at layer 5 the side.
    assert abs(first.follows["letter"][0] or 0) > 0.99 and abs(first.follows["side"][0] or 0) < 0.1
    assert abs(first.follows["label"][1] or 0) > 0.95
    assert abs(second.follows["side"][0] or 0) > 0.99 and abs(second.follows["letter"][1] or 0) > 0.95
    assert second.explained[0] > 0.8 > second.explained[1]
    assert [c.title for c in found.table.columns][3:] == [
        f"{g} r{n}" for g in ("side", "letter", "label") for n in (1, 2)
    ]
    assert len(found.records) == 4 and found.records[2]["layer"] == 5


def test_differences_have_one_point_a_pair_and_no_side() -> None:
    found = components(contrast(label=0.5), layer_parts("5"), "differences")
    assert len(found.views) == 1 and found.views[0].places.shape == (40, 2)
    assert "side" not in found.views[0].follows and abs(found.views[0].follows["letter"][0] or 0) > 0.99


def test_a_layer_that_is_not_there_and_too_few_points_are_said() -> None:
    assert "has no layer 3: it has 2, 5" in complaint(lambda: components(contrast(), layer_parts("3")))
    assert "too few for components" in complaint(lambda: components(contrast(pairs=1), ALL))


def test_cross_fitting_judges_each_pair_by_the_others() -> None:
    found = diagnose(contrast(), ALL)
    first, second = found.layers
    assert "held-out" in found.judged_on
    assert second.share == 1.0 and second.by_letter == {"A": 1.0, "B": 1.0}
    assert second.norm == pytest.approx(6, rel=0.05) and second.interval == (1.0, 1.0)
    assert second.relative == pytest.approx(6 / np.sqrt(9 + 1 + 0.1), rel=0.05)
    # Without a side, held-out pairs are no better than chance; in sample every pair pulls the vector towards itself.
    # Where there is no side, the letter, which is far larger than the noise, isn't taken for one.
    assert first.interval is not None and first.interval[0] < 0.5 < first.interval[1]
    assert [projections.shape for projections in (first.projections, second.projections)] == [(40, 2)] * 2


def test_in_sample_noise_looks_like_a_direction_and_is_called_in_sample() -> None:
    noise = contrast(pairs=20, letter=0.0)
    data = noise.activations.numpy()[:, :, 0].astype(float)
    vector = torch.from_numpy((data[:, 0] - data[:, 1]).mean(axis=0)).float()
    own = Vectors({2: vector}, Origin(data_hash="d"))
    judged = diagnose(noise, layer_parts("2"), own)
    assert judged.layers[0].share > 0.6 and "in sample" in judged.judged_on
    assert "other than" in diagnose(noise, layer_parts("2"), Vectors(own.layers, Origin(data_hash="e"))).judged_on
    assert "unknown" in diagnose(noise, layer_parts("2"), Vectors(own.layers)).judged_on


def test_a_given_vector_is_taken_as_it_is() -> None:
    axis = torch.zeros(WIDTH)
    axis[0] = -2.0
    found = diagnose(contrast(), layer_parts("5"), Vectors({5: axis})).layers[0]
    assert found.share == 0.0 and found.norm == 2.0
    letters = torch.zeros(WIDTH)
    letters[1] = 1.0
    followed = diagnose(contrast(side=0.0), layer_parts("5"), Vectors({5: letters})).layers[0]
    assert followed.by_letter == {"A": 1.0, "B": 0.0} and followed.share == 0.5
    # Axis 1 is the letter's alone, up to a noise of a tenth.
    assert followed.letter_cosine == pytest.approx(1, abs=0.01)
    both = torch.tensor([3.0, 4.0, *[0.0] * (WIDTH - 2)])
    judged = diagnose(contrast(), layer_parts("5"), Vectors({5: both}))
    assert judged.layers[0].letter_cosine == pytest.approx(0.8, abs=0.02)
    assert "layers 5: the vector is largely the direction between the letters" in judged.table.notes
    out = Console(width=80, file=io.StringIO())
    out.print(rich_table(judged.table, 80))
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "+0.8" in text and "…" not in text and "Not shown at this width: norm, norm / activations." in text


def test_a_zero_vector_ties_every_pair() -> None:
    assert diagnose(contrast(), layer_parts("5"), Vectors({5: torch.zeros(WIDTH)})).layers[0].share == 0.5


def test_pairs_of_one_template_are_in_one_fold() -> None:
    assert "too few for 5-fold" in complaint(lambda: diagnose(contrast(templates=4), ALL))
    assert diagnose(contrast(templates=8), ALL).layers[1].share == 1.0


def test_vectors_and_activations_of_two_models_are_refused() -> None:
    wide = Vectors({2: torch.ones(5), 5: torch.ones(5)})
    assert "width 5 and the activations 12" in complaint(lambda: diagnose(contrast(), ALL, wide))
    assert "no vector of layer 2" in complaint(lambda: diagnose(contrast(), ALL, Vectors({5: torch.ones(WIDTH)})))


def vectors(*rows: Sequence[float], **origin: str) -> Vectors:
    return Vectors({layer: torch.tensor(row) for layer, row in enumerate(rows)}, Origin(**origin))  # type: ignore[arg-type]


def test_cosines() -> None:
    one, other = vectors([1.0, 0.0], [3.0, 3.0]), vectors([0.0, 2.0], [-1.0, 0.0], [0.0, 0.0])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(layer_cosines(one, "x").values, [[1, half], [half, 1]], atol=1e-7)
    crossed = model_cosines(one, other, ("a", "b"), "t")
    np.testing.assert_allclose(crossed.values[:, :2], [[0, -1], [half, -half]], atol=1e-7)
    assert np.isnan(crossed.values[:, 2]).all() and crossed.table.rows[0].cells == ("0", "+0.000", "-1.000", "–")
    (found,) = behavior_cosines({"p": one, "q": vectors([5.0, 0.0], [0.0, 1.0])}, layer_parts("1"))
    np.testing.assert_allclose(found.values, [[1, half], [half, 1]], atol=1e-7)
    assert [c.title for c in behavior_cosines({"p": one, "q": one}, None)] == ["layer 1"]
    assert "widths 2 and 3" in complaint(lambda: model_cosines(one, vectors([1.0, 2.0, 3.0]), ("a", "b"), "t"))


def test_a_wide_matrix_prints_what_is_nearest_and_furthest() -> None:
    angles = np.linspace(0, np.pi / 2, 15)
    wide = vectors(*[[float(np.cos(a)), float(np.sin(a))] for a in angles])
    table = layer_cosines(wide, "x").table
    assert len(table.columns) == 5 and table.rows[0].cells[1] == "1" and table.rows[0].cells[3] == "14"
    assert table.rows[7].cells[3] in ("0", "14")


def test_layers_on_components_need_three_layers() -> None:
    assert layer_components(vectors([1.0, 0.0], [0.0, 1.0]), "x") is None
    found = layer_components(vectors([1.0, 0.0], [0.0, 9.0], [-1.0, 0.0]), "x")
    assert found is not None and sum(found.explained) == pytest.approx(1)


def saved(folder: Path, name: str, seed: int, **origin: str) -> Path:
    generator = torch.Generator().manual_seed(seed)
    save_vectors(
        folder / name,
        Vectors({n: torch.randn(6, generator=generator) for n in range(4)}, Origin(**origin)),  # type: ignore[arg-type]
    )
    return folder / name


def test_what_is_compared_follows_from_the_files(tmp_path: Path) -> None:
    one = saved(tmp_path, "a.safetensors", 0, behavior="a", model="m")
    two = saved(tmp_path, "b.safetensors", 1, behavior="b", model="m")
    base = saved(tmp_path / "base", "a.safetensors", 2, behavior="a", model="n")
    layers = look_at_similarity([one], None, None, tmp_path / "out")
    assert [path.name for path in layers.files] == [
        "a-similarity.png", "a-layer-components.png", "a-similarity.csv",
    ]  # fmt: skip
    assert len(layers.records) == 16 and all(path.is_file() for path in layers.files)
    behaviors = look_at_similarity([one, two], None, layer_parts("1-2"), tmp_path / "out")
    assert [title for title, _ in behaviors.tables] == ["layer 1", "layer 2"]
    assert [row.cells[0] for row in behaviors.tables[0][1].rows] == ["a", "b"]
    models = look_at_similarity([one, base], None, None, tmp_path / "out")
    assert models.tables[0][0] == "a: m (down) and n (across)"
    assert "not 1" in complaint(lambda: look_at_similarity([one], "models", None, None))
    assert "not alike: model m and n" in complaint(lambda: look_at_similarity([one, base], "behaviors", None, None))


def test_pictures_and_numbers_lie_beside_the_file(tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    save_contrast(path, contrast(label=0.5))
    parts = look_at_components([path], ALL, "activations", None)
    found = look_at_diagnosis([path], ALL, None, None)
    names = [p.name for p in (*parts.files, *found.files)]
    assert names == [
        "made-components.png", "made-components.csv",
        "made-diagnosis.png", "made-projections.png", "made-diagnosis.csv",
    ]  # fmt: skip
    for file in (*parts.files, *found.files):
        assert file.parent == tmp_path and file.stat().st_size > 100
    lines = (tmp_path / "made-diagnosis.csv").read_text().splitlines()
    assert lines[0].startswith("behavior,layer,norm") and len(lines) == 3
    assert "can't be written" in complaint(lambda: look_at_components([path], ALL, "activations", Path("/dev/null/x")))
