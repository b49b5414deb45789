"""`python -m comparisons` is `compare`."""

from __future__ import annotations

from comparisons.cli import main

if __name__ == "__main__":
    main()
