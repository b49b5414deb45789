"""A system prompt that asks for the behavior, or against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from comparisons.method import Intervention, Method, Use


@dataclass(frozen=True)
class SystemPrompt(Method):
    """Ask for the behavior, or against it, in the system prompt.

    Source: the comparison with system prompting in Rimsky et al. 2024. The texts are the behavior's own.
    Nothing is fitted, and a prompt has no dose: it appears once in a grid of strengths.
    """

    dosed: ClassVar[bool] = False
    fits: ClassVar[Literal["direction", "behavior", "never"]] = "never"

    def intervene(self, use: Use) -> Intervention:
        return Intervention(system=use.behavior.system_prompt(use.direction))
