"""The only place that talks to Redis: thin shells around redis-py's connections."""
