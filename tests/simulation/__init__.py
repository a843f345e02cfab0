"""A deterministic simulation: virtual clients, real scripts, a seeded scheduler."""
