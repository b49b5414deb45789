"""The two ways in which a behavior is changed."""

from __future__ import annotations

from typing import Literal

Direction = Literal["pos", "neg"]
DIRECTIONS: tuple[Direction, ...] = ("pos", "neg")
