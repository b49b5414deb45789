"""Running out of memory for real: under a limit of the operating system."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from comparisons.engine.memory import PLENTY, may_be_short
from tests.forks import Command, Forks
from tests.tiny import tiny_lm

pytestmark = pytest.mark.slow

PROGRAM = """
import logging, resource, sys
import numpy as np, torch
from comparisons.engine.choices import choice_logps
from comparisons.engine.generate import generate
from comparisons.intervention import Edit, Intervention
from tests.tiny import tiny_item, tiny_lm

logging.basicConfig(level="WARNING", stream=sys.stdout, format="%(message)s")
torch.set_num_threads(1)
lm = tiny_lm(vocab_size=60_000)
questions = [tiny_item(i).present("given") for i in range(12)]
vector = torch.ones(lm.width)
interventions = [Intervention(edits=(Edit(1, vector, multiplier=m / 10),)) for m in range(40)]
lm.token_budget = 2_000
small = choice_logps(lm, questions, interventions).logps
short = generate(lm, ["Why?"] * 24, interventions, 3)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 150 * 2**20, resource.RLIM_INFINITY))
lm.token_budget = 10_000_000
large = choice_logps(lm, questions, interventions).logps
print("largest difference", np.abs(large - small).max())
lm.token_budget = 1_000_000
print("same answers", generate(lm, ["Why?"] * 24, interventions, 3) == short)
"""

FREEING = """
import resource, torch
from comparisons.engine.memory import halving
from tests.tiny import tiny_lm

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(100 << 18)  # 100 MiB, more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

lm = tiny_lm()
outside = faults()
with halving(lm):
    faults()
    inside = faults()
print(inside, outside)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the limit is set from Linux's /proc")
def test_running_out_of_memory_halves_the_batches_and_goes_on(forks: Forks, tmp_path: Path) -> None:
    (done,) = forks.run(Command((), str(tmp_path), program=PROGRAM))
    assert done.code == 0, done.errors
    lines = done.printed.splitlines()
    assert sum(line.startswith("out of memory: going on with batches of") for line in lines) >= 2
    difference = next(line for line in lines if line.startswith("largest difference"))
    assert float(difference.split()[-1]) < 1e-5
    assert "same answers True" in lines


def test_a_training_gives_memory_back_as_it_goes_where_that_may_be_short(monkeypatch: pytest.MonkeyPatch) -> None:
    lm = tiny_lm()
    enough = PLENTY * 4 * lm.parameters
    for free, short in ((enough, False), (enough - 1, True), (None, True)):
        monkeypatch.setattr("comparisons.engine.memory.available_memory", lambda free=free: free)
        assert may_be_short(lm) is short


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of other systems does as it likes")
def test_what_a_block_frees_the_next_one_uses(forks: Forks, tmp_path: Path) -> None:
    # In a process of its own: what others have left on the heap may be kept there.
    (done,) = forks.run(Command((), str(tmp_path), program=FREEING))
    inside, outside = map(int, done.printed.split())
    assert inside < outside / 10
