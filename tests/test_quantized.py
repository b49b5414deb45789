"""Methods on models in 4 and 8 bits, loaded as a user loads them."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from comparisons.cli import execute
from comparisons.dataset.behaviors import Behavior
from comparisons.engine.choices import choice_logps
from comparisons.intervention import Intervention
from comparisons.method import Fit, Method, Use
from comparisons.model.lm import LM
from comparisons.model.loading import load
from comparisons.model.source import ModelSource
from methods.dpo import DPO
from methods.learned_vector import LearnedVector
from methods.prompt_tuning import PromptTuning
from methods.sft import SFT
from tests.places import complaint, make_place
from tests.tiny import tiny_behavior, tiny_lm

pytestmark = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes has no build for this platform")


@pytest.fixture(scope="module", params=["4bit", "8bit"])
def lm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LM:
    source, folder = tiny_lm(hidden_size=128), tmp_path_factory.mktemp("model")
    source.model.save_pretrained(folder)
    source.tokenizer.save_pretrained(folder)
    return load(ModelSource(str(folder), device="cpu", dtype="bfloat16", quantize=request.param))


def margin(lm: LM, behavior: Behavior, intervention: Intervention) -> float:
    """The mean log-odds of the matching letter on the training pairs."""
    asked = [item.present("given") for item in behavior.train]
    logps = choice_logps(lm, asked, [intervention]).logps[0]
    return float(np.mean(logps[:, 0] - logps[:, 1]))


@pytest.mark.parametrize(
    "method",
    [
        SFT(learning_rate=1e-2, epochs=2, epoch=2, batch_size=4),
        DPO(learning_rate=1e-2, epochs=2, epoch=2, batch_size=4),
        LearnedVector(layer=1, epochs=2, batch_size=4),
        PromptTuning(epochs=2, batch_size=4),
    ],
    ids=lambda method: type(method).__name__,
)
def test_what_trains_by_gradient_moves_a_quantized_model(lm: LM, method: Method, tmp_path: Path) -> None:
    behavior, mark = tiny_behavior(8), lm.mark()
    method.fit(Fit(lm, behavior, {}, "pos", 0, Intervention(), tmp_path))
    found = method.intervene(Use(behavior, "pos", 1.0, tmp_path))
    assert margin(lm, behavior, found) > margin(lm, behavior, Intervention()) + 0.2
    assert lm.mark() == mark


@pytest.mark.parametrize("trainable", ["full", "layer:1"])
def test_whole_matrices_of_a_quantized_model_are_refused(lm: LM, trainable: str, tmp_path: Path) -> None:
    assert lm.quantized
    method = SFT(learning_rate=1e-3, epochs=1, epoch=1, trainable=trainable)
    fit = Fit(lm, tiny_behavior(4), {}, "pos", 0, Intervention(), tmp_path)
    assert f"sft.trainable={trainable} is not for a quantized model" in complaint(lambda: method.fit(fit))


def test_small_gradients_are_not_lost_in_narrow_norms(lm: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it trains, all that isn't quantized is float32; afterwards it is what it was."""
    import torch

    from comparisons.method import _gradient, _trainer

    seen: list[set[torch.dtype]] = []
    loss = _gradient.target_loss

    def watched(lm: LM, model: object, batch: dict[str, torch.Tensor], head: int) -> torch.Tensor:
        seen.append({p.dtype for p in lm.model.parameters() if p.is_floating_point()})
        return loss(lm, model, batch, head)

    monkeypatch.setattr(_trainer, "target_loss", watched)
    before = {p.dtype for p in lm.model.parameters() if p.is_floating_point()}
    method = SFT(learning_rate=1e-3, epochs=1, epoch=1, batch_size=4)
    method.fit(Fit(lm, tiny_behavior(4), {}, "pos", 0, Intervention(), tmp_path))
    assert seen == [{torch.float32}]
    assert {p.dtype for p in lm.model.parameters() if p.is_floating_point()} == before == {torch.bfloat16}


@pytest.mark.parametrize(("family", "name"), [("mixtral", "mlp.experts.gate_up_proj"), ("llama", None)])
def test_experts_that_stay_whole_are_said_at_load_and_in_the_report(
    family: str, name: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, place = tiny_lm(family, hidden_size=128), make_place(tmp_path)
    source.model.save_pretrained(tmp_path / "model")
    source.tokenizer.save_pretrained(tmp_path / "model")
    given = ["--model", str(tmp_path / "model"), "--data", str(place), "--quantize", "4bit", "--device", "cpu"]
    methods = ["--behavior", "greeting", "--methods", "caa", "--layer", "1", "--directions", "pos"]
    assert execute(["run", *given, *methods, "--out", str(tmp_path / "out")]) == 0
    said, report = " ".join(caplog.messages), " ".join((tmp_path / "out/report.md").read_text().split())
    for text in (said, report):
        assert ("--quantize 4bit leaves" in text) == (name is not None)
        assert name is None or f"as they are, {name} foremost: bitsandbytes quantizes linear modules" in text
