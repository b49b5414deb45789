"""What became of an answer that judges were given."""

from __future__ import annotations

from typing import Literal

Status = Literal["scored", "unparsed", "refused", "failed", "unasked"]

UNSCORED: tuple[Status, ...] = ("unparsed", "refused", "failed", "unasked")
"""Why an answer has no score."""
