"""What a cell is: the value that tells it from every other cell of its run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from comparisons.util.files import json_digest

BASELINE = "baseline"
"""What the unchanged model is called where a stack stands."""


@dataclass(frozen=True)
class CellId:
    """A cell's identity; its text is for people and for rows, and is never read back.

    Attributes:
        stack: as typed, or "baseline".
        settings: those that vary within the run, in their order: ("caa.layer", "2").
        direction: "pos" or "neg"; None for the baseline.
        model: its name where the run has several; "" where it has one.
    """

    behavior: str
    stack: str = BASELINE
    settings: tuple[tuple[str, str], ...] = ()
    direction: str | None = None
    strength: float = 0.0
    model: str = ""

    def __str__(self) -> str:
        place = f"{self.behavior}/{self.stack}"
        if self.direction is not None:
            settings = ",".join(f"{name}={value}" for name, value in self.settings)
            place += f"{f'[{settings}]' if settings else ''}/{self.direction}/{self.strength:g}"
        return on_model(place, self.model)

    @property
    def digest(self) -> str:
        """What its file is called."""
        return json_digest(asdict(self))[:16]

    @property
    def baseline(self) -> CellId:
        """The cell that this one is compared with."""
        return CellId(self.behavior, model=self.model)

    @property
    def alone(self) -> CellId:
        """The same cell in a run of its model alone: what its random draws are seeded by."""
        return replace(self, model="")

    @property
    def subject(self) -> str:
        """The behavior, and the model where the run has several."""
        return on_model(self.behavior, self.model)


def on_model(name: str, model: str) -> str:
    """A name with its model, where the run has several."""
    return f"{name} in {model}" if model else name
