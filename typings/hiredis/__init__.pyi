# The part of hiredis that the drivers use. Its own stub takes a tuple of one item only.
__version__: str

class HiredisError(Exception): ...

# A command in the form that Redis reads. HiredisError for an item of another type.
def pack_command(cmd: tuple[str | int | float | bytes | memoryview, ...], /) -> bytes: ...
