"""Programs that show typed_rmq at work. Each runs as ``python -m examples.<name>``."""
