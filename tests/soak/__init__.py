"""The proofs in turn, with fresh seeds, for hours. See ``__main__.py``."""
