"""Interrupted anywhere: a task cancelled at any await, a KeyboardInterrupt at any line."""
