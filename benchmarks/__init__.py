"""``make bench``: the queue's speed and memory as ratios to raw redis-py calls in the same run."""
