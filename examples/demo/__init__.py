"""Two publishers, three workers, one kill -9, and the sums at the end.

    python -m examples.demo

Everything is real: an embedded Redis with a fresh data folder, five processes, 3,000 orders
from ``examples/data/orders.ndjson``, and one worker killed in the middle of an order.
"""
