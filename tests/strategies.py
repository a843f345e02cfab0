"""What Hypothesis draws from, where its own default costs more than the tests."""

from __future__ import annotations

from hypothesis import strategies as st

__all__ = ["CHARACTERS", "TEXT"]

CHARACTERS = st.characters(exclude_categories=["Cs"])
"""Every character but surrogates: what ``st.text()`` draws from as well.

Hypothesis finds the same set by encoding each of 1.1 million code points, in every process of a
fresh checkout.
"""

TEXT = st.text(CHARACTERS)
