"""One small adapter for each system. A module here is imported only in its own environment."""
