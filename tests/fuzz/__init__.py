"""A fuzz target for everything that decodes bytes from Redis; see ``target.py``."""
