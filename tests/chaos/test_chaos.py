"""A short run in CI; ``make soak`` runs longer ones with fresh seeds."""

from __future__ import annotations

import os
import random

import pytest

from .chaos import wreak

SEED = 20 if os.environ.get("CI") else random.SystemRandom().randrange(10**9)


@pytest.mark.slow
def test_no_harm_loses_or_doubles_a_message() -> None:
    print(f"again: python -m tests.chaos --seed {SEED}")
    known, faults = wreak(SEED, seconds=12)
    assert known.confirmed > 50
    assert known.settled > 20
    assert faults.total() >= 10
