"""Leaves a process as it was before a trainer ran in it."""

from __future__ import annotations

import gc
import os
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_process() -> Iterator[None]:
    """Keeps what trainers change in a process: random states, environment, warnings, verbosity."""
    import numpy as np
    import torch
    from transformers.utils.logging import get_verbosity, set_verbosity

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    environment, verbosity = dict(os.environ), get_verbosity()
    # A trainer collects garbage several times, each time over all that libraries have made when they were imported.
    gc.freeze()
    with warnings.catch_warnings():
        try:
            yield
        finally:
            gc.unfreeze()
            random.setstate(states[0])
            np.random.set_state(states[1])
            torch.set_rng_state(states[2])
            if cuda:
                torch.cuda.set_rng_state_all(cuda)
            os.environ.clear()
            os.environ.update(environment)
            set_verbosity(verbosity)
