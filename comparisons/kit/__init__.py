"""The plugin kit: what a sound method keeps to, check by check, and a new method or behavior to begin with."""

from __future__ import annotations
