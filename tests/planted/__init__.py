"""Planted faults: a proof that does not notice them would prove nothing. See ``faults.py``."""
