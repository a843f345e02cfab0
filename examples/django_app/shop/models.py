"""What the database knows."""

from django.db import models


class Order(models.Model):
    """An order; shipped by the worker."""

    sku = models.CharField(max_length=40)
    shipped = models.BooleanField(default=False)
