"""``make bench-peers``: this queue and its peers on one server, slice by slice in turns.

Every system runs in a process and a virtual environment of its own. This package's ``child`` and
``adapters`` run there, on any Python since 3.11 and without typed_rmq; all else runs in the
driver, which knows the systems only by the lines of JSON that they answer with.
"""
