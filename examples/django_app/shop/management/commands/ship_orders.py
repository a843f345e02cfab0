"""The worker: ``manage.py ship_orders``."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand
from django.db import close_old_connections
from shop.models import Order
from shop.queues import ShipOrder, orders


def ship(message: ShipOrder) -> None:
    """Shipping an order again does no harm: it may be delivered twice."""
    close_old_connections()  # a worker lives for days, and a database connection does not
    if Order.objects.filter(pk=message.order_id, shipped=False).update(shipped=True):
        print(f"shipped order {message.order_id}", flush=True)


class Command(BaseCommand):
    """Handles orders until SIGTERM or Ctrl-C; the order in hand is finished first."""

    help = "Ship orders as they come"

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options."""
        parser.add_argument("--concurrency", type=int, default=1, help="threads (default: 1)")
        parser.add_argument("--until-empty", action="store_true", help="end when none is left")

    def handle(self, *, concurrency: int, until_empty: bool, **options: object) -> None:
        """Run the worker."""
        with orders() as queue:
            queue.run(ship, concurrency=concurrency, until_empty=until_empty)
