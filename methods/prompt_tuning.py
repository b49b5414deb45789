"""Prompt tuning (Lester et al. 2021)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from comparisons.method import (
    CompareError,
    Descent,
    Edit,
    Fit,
    Intervention,
    Method,
    Target,
    Use,
    by_measure,
    questions,
    read_vectors,
    train_edit,
    write_vectors,
)

if TYPE_CHECKING:
    import torch

FILE = "text.json"


@dataclass(frozen=True)
class PromptTuning(Method):
    """Train the embeddings of a system prompt by gradient on the finetuning's own loss and data.

    Source: Lester et al. 2021, section 2; the trained embeddings begin as those of a text. They stand where the text
    would stand as the system prompt, so chat formats stay whole, and positions are those of an ordinary prompt. In a
    stack it goes to the left of any other method with a prompt. A prompt has no dose.

    Attributes:
        text: what it begins as, and where; each of its tokens gets an embedding.
        learning_rate: of Adam, in units of the embeddings' root mean square.
        epochs: passes over the pairs.
        batch_size: pairs a step.
        target: what is trained on: the "letter", the "answer"'s text, or "auto", by what the run measures.
    """

    text: str = "Read the question and the answers with care."
    learning_rate: float = 0.1
    epochs: int = 3
    batch_size: int = 16
    target: Target = by_measure("auto")

    dosed: ClassVar[bool] = False
    fits: ClassVar[Literal["direction", "behavior", "never"]] = "direction"

    def fit_passes(self) -> float:
        return 3.0 * self.epochs

    def fit(self, fit: Fit) -> None:
        import torch

        first, end = fit.lm.prompts.system_span(self.text)
        if not self.text.strip() or end <= first:
            raise CompareError("prompt_tuning.text holds no token to train: give it a few words.")
        embeddings = fit.lm.embeddings.detach().float()
        rate = self.learning_rate * embeddings.square().mean().sqrt().item()
        asked = questions(fit, Intervention(system=self.text), self.target)
        before = torch.zeros(first, fit.lm.width, device=fit.lm.device)

        def edit(trained: torch.Tensor) -> Edit:
            return _edit(torch.cat([before, trained]))

        how = Descent(rate, self.epochs, self.batch_size, fit.seed)
        moved = train_edit(fit.lm, asked, torch.zeros(end - first, fit.lm.width), edit, how)
        write_vectors(fit.out, torch.cat([before.cpu(), moved]))
        (fit.out / FILE).write_text(json.dumps(self.text), encoding="utf-8")

    def intervene(self, use: Use) -> Intervention:
        text = json.loads((use.fitted / FILE).read_text(encoding="utf-8"))
        return Intervention(system=text, edits=(_edit(read_vectors(use.fitted)),))


def _edit(vectors: torch.Tensor) -> Edit:
    """Moves the embeddings of the first tokens, [tokens, width], where they enter the first block."""
    return Edit(0, vectors, positions=f"prompt_first:{len(vectors)}", site="block_input")
