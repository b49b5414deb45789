"""Conditional Activation Steering (Lee et al. 2024)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from comparisons.method import (
    CompareError,
    Condition,
    Fit,
    Intervention,
    Item,
    Need,
    Use,
    prompt_activations,
    read_vector,
    unit,
    use_only,
    write_vectors,
)
from methods.caa import CAA

if TYPE_CHECKING:
    import torch

FOLDER, CONDITIONS = "condition", "conditions.json"
LEAST = 6  # questions of either kind, of which a third choose


@dataclass(frozen=True)
class CAST(CAA):
    """Add the mean activation difference of contrast pairs, but only on prompts that are like the behavior's.

    Source: Lee et al. 2024 (Programming Refusal with Conditional Activation Steering), sections 3.1 and 3.3. The
    condition's direction is the first principal component of the prompts' activations, training questions against
    neutral ones, each pair of them centred; two thirds of both fit it. The other third chooses: of each block the
    threshold and the side with the best F1, and of the blocks up to `layer` the one with the best of these (section 4,
    appendix C.2); of equal ones that with the widest gap around its threshold, in standard deviations. Not as in the
    paper: prompts are read at their last token, and what is added, from there on, is `caa`'s vector.

    Attributes:
        condition_layer: the block whose output decides; the other settings are `caa`'s.
    """

    condition_layer: int | Literal["auto"] = use_only("auto")
    swept: ClassVar[bool] = False
    conditional: ClassVar[bool] = True

    @property
    def needs(self) -> frozenset[Need]:
        return super().needs | {"neutral"}

    def fit_passes(self) -> float:
        return super().fit_passes() + 2.0  # the questions with and without their choices

    def fit(self, fit: Fit) -> None:
        super().fit(fit)
        kinds = fit.behavior.train, fit.neutral
        if min(map(len, kinds)) < LEAST:
            raise CompareError(f"cast's condition takes {LEAST} training questions and as many neutral ones, or more.")
        fitting, choosing = ([_read(fit, items, last) for items in kinds] for last in (False, True))
        directions = _component(*fitting)
        cosines = [(unit(states) * directions).sum(dim=-1) for states in choosing]  # [prompts, layers] each
        found = [_best(*(each[:, layer] for each in cosines)) for layer in range(len(directions))]
        (fit.out / FOLDER).mkdir()
        write_vectors(fit.out / FOLDER, directions)
        (fit.out / CONDITIONS).write_text(json.dumps(found), encoding="utf-8")

    def intervene(self, use: Use) -> Intervention:
        (edit,) = super().intervene(use).edits
        found = json.loads((use.fitted / CONDITIONS).read_text(encoding="utf-8"))
        best = max(range(edit.layer + 1), key=lambda layer: (found[layer]["f1"], found[layer]["gap"]))
        place = best if self.condition_layer == "auto" else self.condition_layer
        direction = read_vector(use.fitted / FOLDER, place)
        when = Condition(place, direction, found[place]["threshold"], found[place]["side"])
        return Intervention(edits=(replace(edit, when=when),))


def _read(fit: Fit, items: Sequence[Item], third: bool) -> torch.Tensor:
    """Every third question or the others, without choices and, for letters, with them too, [prompts, layers, width]."""
    part = [item for i, item in enumerate(items) if (i % 3 == 2) is third]
    forms = [(item.stem, item.question) if fit.measure == "letters" else (item.stem,) for item in part]
    return prompt_activations(fit, [text for each in forms for text in dict.fromkeys(each)])


def _component(own: torch.Tensor, neutral: torch.Tensor) -> torch.Tensor:
    """Of norm 1, on the own prompts' side, [layers, width]; the fewer prompts are repeated."""
    import torch

    pairs = torch.arange(max(len(own), len(neutral)))
    rows = (own[pairs % len(own)] - neutral[pairs % len(neutral)]).double().transpose(0, 1)  # [layers, pairs, width]
    first = torch.stack([torch.linalg.svd(each, full_matrices=False).Vh[0] for each in rows])
    side = torch.where((first * rows.mean(dim=1)).sum(dim=-1, keepdim=True) < 0, -1.0, 1.0)
    return (side * first).float()


def _best(own: torch.Tensor, neutral: torch.Tensor) -> dict[str, Any]:
    """The threshold and side that tell own cosines, [prompts], from neutral ones with the best F1."""
    import torch

    values = torch.cat([own, neutral]).double().sort().values
    between, gaps = (values[1:] + values[:-1]) / 2, values.diff() / values.std().clamp(min=1e-12)
    found = []
    for side, sign in (("above", 1), ("below", -1)):
        hits, false = (((each - between[:, None]) * sign > 0).sum(dim=1) for each in (own, neutral))
        scores = zip((2 * hits / (hits + false + len(own))).tolist(), gaps.tolist(), between.tolist(), strict=True)
        found += [{"f1": f1, "gap": gap, "threshold": threshold, "side": side} for f1, gap, threshold in scores]
    return max(found, key=lambda each: (each["f1"], each["gap"]))
