"""The app."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """Takes orders and ships them."""

    name = "shop"
