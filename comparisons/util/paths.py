"""Where the data and the model that come with the program lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

_IN_A_CHECKOUT = {"data": "data", "pocket": "checkpoints/pocket"}


def embedded(name: Literal["data", "pocket"]) -> Path:
    """The folder of the embedded data or model: inside an installed package, or else in the checkout.

    Whether it exists is for the caller to check.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "embedded" / name
    return installed if installed.is_dir() else package.parent / _IN_A_CHECKOUT[name]
