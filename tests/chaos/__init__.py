"""Real processes, a real network, and a real kill -9 of everything. See ``chaos.py``."""
