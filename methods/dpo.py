"""Direct preference optimization with LoRA (Rafailov et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass

from comparisons.method import Fit, TrainedAdapter


@dataclass(frozen=True)
class DPO(TrainedAdapter):
    """Train a LoRA adapter to prefer one answer of each pair to the other, by direct preference optimization.

    Source: Rafailov et al. 2023, equation 7: −log σ(β (log π(y_w)/π₀(y_w) − log π(y_l)/π₀(y_l))), by trl's
    DPOTrainer, with π the probability of the token that decides between the letters, or of the whole answer: the data
    are those of `sft`. "pos" prefers the matching answer, "neg" the contrast. The strength scales the adapter.

    Attributes:
        learning_rate, epochs, epoch, rank, alpha, dropout, batch_size, target_modules, target: as in `sft`.
        beta: the larger, the nearer the model stays to what it was.
    """

    beta: float = 0.1

    def fit_passes(self) -> float:
        return 8.0 * self.epochs  # two answers trained, two read by the reference

    def fit(self, fit: Fit) -> None:
        self.train(fit, beta=self.beta)
