"""Direct preference optimization with LoRA (Rafailov et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons.method import Fit, TrainedAdapter


@dataclass(frozen=True)
class DPO(TrainedAdapter):
    """Train a LoRA adapter to prefer one answer of each pair to the other, by direct preference optimization.

    Source: Rafailov et al. 2023, equation 7: −log σ(β (log π(y_w)/π₀(y_w) − log π(y_l)/π₀(y_l))), with π the
    probability of the token that decides between the letters, or of the whole answer, and π₀ the plain model's: the
    data are those of `sft`. "pos" prefers the matching answer, "neg" the contrast. The strength scales the adapter.

    Attributes:
        learning_rate, epochs, epoch, rank, alpha, dropout, batch_size, target_modules, target: as in `sft`.
        beta: the larger, the nearer the model stays to what it was.
    """

    beta: float = 0.1

    def fit_passes(self) -> float:
        # What the plain model makes of the pairs is read once; letters follow one prompt, texts have a pass each.
        return (1.0 + super().fit_passes()) * (1.0 if self.target == "letter" else 2.0)

    def fit(self, fit: Fit) -> None:
        self.train(fit, beta=self.beta)
