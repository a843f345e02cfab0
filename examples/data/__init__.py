"""The orders that the demo reads, and the program that made them."""
