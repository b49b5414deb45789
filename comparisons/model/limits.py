"""How many tokens one forward pass takes."""

from __future__ import annotations

MAX_BRANCH_TOKENS = 1_024
"""Branch tokens of one prompt in one forward: attention among them grows with the square."""


def token_budget(device: str, width: int) -> int:
    """Tokens of a batch. On a CPU larger ones than its caches hold are slower, not faster.

    Args:
        device: its type.
        width: of the residual stream.
    """
    return 32_768 if device == "cuda" else min(8_192, max(1_024, 2**20 // width))
