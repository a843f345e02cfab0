"""Takes orders and ships them."""
