"""What a large queue, many queues, and many consumers cost: ``python -m benchmarks.scale``."""
