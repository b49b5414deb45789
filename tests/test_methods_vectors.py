"""Methods that steer: each direction by other code than the method's, and what the edits do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from comparisons.engine.activations import contrast_activations
from comparisons.engine.choices import choice_logps
from comparisons.intervention import Intervention
from comparisons.method import Direction, Edit, Fit, Method, Use, check_method, read_vectors
from comparisons.method.registry import Registry
from comparisons.method.settings import parse_settings
from comparisons.model.lm import LM
from comparisons.util.errors import CompareError
from tests import oracle
from tests.tiny import WIDTH, tiny_behavior, tiny_lm

PAIRS, LAYERS = 60, 2


def made(name: str, **settings: str) -> Method:
    return parse_settings(Registry().get(name), settings, name)


def fitted(method: Method, lm: LM, out: Path, direction: Direction = "pos") -> Path:
    out.mkdir(exist_ok=True)
    method.fit(Fit(lm, tiny_behavior(), {}, direction, 0, Intervention(), out))
    return out


def used(method: Method, folder: Path, direction: Direction = "pos", strength: float = 1.0) -> Intervention:
    return method.intervene(Use(tiny_behavior(), direction, strength, folder))


@pytest.mark.parametrize("name", ["ablate", "actadd", "fewshot", "learned_vector", "pca", "probe", "prompt_tuning"])
def test_it_passes_the_conformance_suite(name: str) -> None:
    if name == "probe":
        pytest.importorskip("sklearn")
    check_method(Registry().get(name))


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """Activations whose sides differ along one direction, amid noise that is larger along another."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.nn.functional.normalize(torch.randn(LAYERS, WIDTH, generator=generator), dim=-1)
    loud = torch.zeros(WIDTH)
    loud[0] = 20.0
    noise = torch.randn(PAIRS, 2, LAYERS, WIDTH, generator=generator)
    common = torch.randn(PAIRS, 1, LAYERS, 1, generator=generator) * loud
    sides = torch.tensor([3.0, -3.0])[None, :, None, None] * direction
    for name in ("probe", "pca"):
        monkeypatch.setattr(f"methods.{name}.pair_activations", lambda fit, read: common + 0.3 * noise + sides)
    return direction


@pytest.mark.parametrize(
    ("name", "settings"), [("probe", {}), ("pca", {}), ("pca", {"of": "activations", "component": "2"})]
)
def test_a_planted_direction_is_found_on_the_matching_side(
    name: str, settings: dict[str, str], planted: torch.Tensor, tmp_path: Path
) -> None:
    if name == "probe":
        pytest.importorskip("sklearn")
    folder = fitted(made(name, **settings), tiny_lm(), tmp_path)
    vectors = read_vectors(folder)
    assert torch.cosine_similarity(vectors, planted, dim=-1).min() > 0.97
    assert vectors.norm(dim=-1).tolist() == pytest.approx([6.0] * LAYERS, rel=0.05)


def test_a_component_is_numpys_eigenvector(tmp_path: Path) -> None:
    lm = tiny_lm()
    pairs = torch.cat([found for _, found in contrast_activations(lm, tiny_behavior().train)])
    differences = (pairs[:, 0] - pairs[:, 1])[:, 2].double().numpy()
    for centre, component in (("false", 1), ("true", 2)):
        rows = differences - differences.mean(axis=0) if centre == "true" else differences
        expected = torch.from_numpy(np.linalg.eigh(rows.T @ rows)[1][:, -component].copy()).float()
        method = made("pca", layer="2", centre=centre, component=str(component))
        (edit,) = used(method, fitted(method, lm, tmp_path / centre)).edits
        assert abs(torch.cosine_similarity(edit.vector, expected, dim=0)) > 0.999
        assert edit.vector @ torch.from_numpy(differences.mean(axis=0)).float() >= 0
    with pytest.raises(CompareError, match="component=99 is out of range"):
        fitted(made("pca", component="99"), lm, tmp_path / "none")


def captured_along(lm: LM, intervention: Intervention, unit: torch.Tensor, layer: int) -> torch.Tensor:
    items = tiny_behavior().train
    return torch.cat([found[:, :, 0] @ unit for _, found in contrast_activations(lm, items, [layer], intervention)])


@pytest.mark.parametrize(("layer", "reads"), [("all", 3), ("1", 1)])
def test_nothing_is_left_along_an_ablated_direction(layer: str, reads: int, tmp_path: Path) -> None:
    lm, method = tiny_lm(), made("ablate", layer=layer)
    folder = fitted(method, lm, tmp_path)
    found = used(method, folder)
    assert len(found.edits) == (len(lm.blocks) if layer == "all" else 1)
    unit = next(edit.vector for edit in found.edits if edit.layer == reads)
    assert captured_along(lm, Intervention(), unit, reads).abs().max() > 0.1
    assert captured_along(lm, found, unit, reads).abs().max() < 1e-4
    assert used(method, folder, "neg").digest == found.digest


def test_ablation_towards_a_side_gives_its_mean_component(tmp_path: Path) -> None:
    lm, method = tiny_lm(), made("ablate", layer="1", to="side")
    folder = fitted(method, lm, tmp_path)
    unit = used(method, folder).edits[0].vector
    plain = captured_along(lm, Intervention(), unit, 1)
    for side, direction in enumerate(("pos", "neg")):
        half = captured_along(lm, used(method, folder, direction, 0.5), unit, 1)  # type: ignore[arg-type]
        torch.testing.assert_close(half, (plain + plain[:, side].mean()) / 2, atol=1e-3, rtol=1e-3)


def test_actadd_equals_a_hook_on_the_first_tokens(tmp_path: Path) -> None:
    lm, method = tiny_lm(), made("actadd", layer="1", plus="Yes, I would", minus="No", coefficient="2.0")
    found = used(method, fitted(method, lm, tmp_path), "neg", 0.5)
    ids = [lm.tokenizer(text)["input_ids"] for text in ("Yes, I would", "No")]
    blank = lm.tokenizer(" ", add_special_tokens=False)["input_ids"]
    assert len(blank) == 1
    ids[1] += blank * (len(ids[0]) - len(ids[1]))
    outputs: list[torch.Tensor] = []
    handle = lm.blocks[1].register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        for each in ids:
            lm.model(torch.tensor([each]))
    handle.remove()
    added = -1.0 * (outputs[0] - outputs[1])[0]
    item = tiny_behavior().train[0]
    tokens, _, index = oracle.prompt_ids(lm.tokenizer, item.question, item.matching)

    def add(module: object, args: object, output: torch.Tensor) -> torch.Tensor:
        return torch.cat([output[:, : len(added)] + added, output[:, len(added) :]], dim=1)

    handle = lm.blocks[1].register_forward_hook(add)
    with torch.no_grad():
        expected = lm.model(torch.tensor([tokens[:index]])).logits[0, -1].log_softmax(-1)[tokens[index]]
    handle.remove()
    logps = choice_logps(lm, [item.present("given")], [found]).logps
    assert logps[0, 0, 0] == pytest.approx(expected.item(), abs=1e-4)


def test_actadd_wants_two_prompts(tmp_path: Path) -> None:
    with pytest.raises(CompareError, match="the same prompt"):
        fitted(made("actadd", plus="x", minus="x"), tiny_lm(), tmp_path)


@pytest.mark.parametrize("direction", ["pos", "neg"])
def test_fewshot_answers_training_questions_with_the_wanted_letter(direction: Direction, tmp_path: Path) -> None:
    behavior, method = tiny_behavior(), made("fewshot", examples="4")
    turns = used(method, fitted(method, tiny_lm(), tmp_path, direction), direction).examples
    by_question = {item.question: item for item in behavior.train}
    wanted = [by_question[turn.question] for turn in turns]
    letters = [item.matching if direction == "pos" else item.contrast for item in wanted]
    assert [turn.answer for turn in turns] == [f"({letter})" for letter in letters]
    assert sorted(letters) == ["A", "A", "B", "B"] and len(set(by_question) & {t.question for t in turns}) == 4
    text = tiny_lm().prompt("Why?", None, turns)
    assert text.startswith(f"<s>[INST] {turns[0].question} [/INST] ({letters[0]}) </s><s>[INST]")
    assert text.endswith("<s>[INST] Why? [/INST]")
    with pytest.raises(CompareError, match="use 1 to 16"):
        fitted(made("fewshot", examples="17"), tiny_lm(), tmp_path / "many")


def test_caa_takes_the_vector_of_another_layer_and_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lm, plain = tiny_lm(), made("caa", layer="1")
    folder = fitted(plain, lm, tmp_path / "fit")
    (moved,) = used(made("caa", layer="3", vector_layer="1"), folder).edits
    assert moved.layer == 3 and torch.equal(moved.vector, used(plain, folder).edits[0].vector)

    file = tmp_path / "vectors.safetensors"
    save_file({"layer_1": torch.arange(float(WIDTH))}, file, {"model": "tiny"})
    loaded = made("caa", layer="1", vector_from=str(file))
    own = fitted(loaded, lm, tmp_path / "file")
    assert torch.equal(used(loaded, own).edits[0].vector, torch.arange(float(WIDTH)))
    assert f"what {file} holds was made on tiny and is used on tiny-llama." in caplog.text
    with pytest.raises(CompareError, match="holds no vector of layer 2"):
        used(replace(loaded, layer=2), own)  # type: ignore[call-arg]
    before = loaded.fit_settings()
    save_file({"layer_1": torch.ones(WIDTH)}, file)
    assert loaded.fit_settings() != before


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layer_9": torch.ones(WIDTH)}, "layer 9, but tiny-llama has layers 0 to 3"),
        ({"layer_1": torch.ones(WIDTH + 1)}, "width 65 and tiny-llama has 64"),
        ({"vectors": torch.ones(WIDTH)}, "a tensor 'vectors'"),
        (None, "no such file"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tensors: dict[str, torch.Tensor] | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "vectors.safetensors"
    if tensors is not None:
        save_file(tensors, file)
    with pytest.raises(CompareError, match=message):
        fitted(made("caa", vector_from=str(file)), tiny_lm(), tmp_path / "fit")


@pytest.mark.parametrize("name", ["learned_vector", "prompt_tuning"])
@pytest.mark.parametrize("direction", ["pos", "neg"])
def test_training_by_gradient_raises_the_wanted_letter(name: str, direction: Direction, tmp_path: Path) -> None:
    """Measured by the engine, which shares no forward pass with the training."""
    lm, behavior = tiny_lm(), tiny_behavior()
    layer = {"layer": "2"} if name == "learned_vector" else {}
    method = made(name, epochs="8", batch_size="8", **layer)
    folder = fitted(method, lm, tmp_path / "fit", direction)
    trained = used(method, folder, direction)
    shown = [item.present("given") for item in behavior.train]
    logps = choice_logps(lm, shown, [Intervention(system=trained.system), trained]).logps
    wanted = logps[..., 0 if direction == "pos" else 1].mean(axis=1)
    assert wanted[1] > wanted[0] + 1.0
    again = used(method, fitted(method, lm, tmp_path / "again", direction), direction)
    assert again.digest == trained.digest


def test_the_loss_under_an_edit_is_the_engines(tmp_path: Path) -> None:
    from comparisons.method import questions
    from comparisons.method._gradient import batch_loss

    lm, behavior = tiny_lm(), tiny_behavior(5)
    edit = Edit(1, torch.randn(WIDTH, generator=torch.Generator().manual_seed(0)))
    asked = questions(Fit(lm, behavior, {}, "pos", 0, Intervention(), tmp_path))
    shown = [item.present("given") for item in behavior.train]
    logps = choice_logps(lm, shown, [Intervention(edits=(edit,))]).logps
    with torch.no_grad():
        assert batch_loss(lm, asked, range(5), edit).item() == pytest.approx(-logps[0, :, 0].mean(), abs=1e-4)


def test_prompt_tuning_leaves_the_templates_own_tokens_alone(tmp_path: Path) -> None:
    lm, method = tiny_lm(), made("prompt_tuning", epochs="1")
    (edit,) = used(method, fitted(method, lm, tmp_path)).edits
    moved = edit.vector.norm(dim=-1) > 0
    ids = lm.tokenize(lm.prompt("Why?", "Read the question and the answers with care."))
    trained = lm.tokenizer.decode([i for i, m in zip(ids, moved, strict=False) if m])
    assert trained == "Read the question and the answers with care."
