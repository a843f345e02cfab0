"""A model of the protocol, explored breadth first. ``python -m tests.model.protocol`` runs it."""
