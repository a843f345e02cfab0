# The part of hiredis that the drivers and the test kit use. Its own stub takes a tuple of one
# item only.
from collections.abc import Callable
from typing import Any

__version__: str

class HiredisError(Exception): ...
class ReplyError(HiredisError): ...
class PushNotification(list[Any]): ...

class Reader:
    def __init__(
        self,
        protocolError: Callable[[str], Exception] = ...,
        replyError: Callable[[str], Exception] = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        notEnoughData: Any = ...,
    ) -> None: ...
    def feed(self, buf: str | bytes, off: int = ..., len: int = ..., /) -> None: ...
    # What was read, or False (or `notEnoughData`) where something is missing yet.
    def gets(self, shouldDecode: bool = ..., /) -> Any: ...

# A command in the form that Redis reads. HiredisError for an item of another type.
def pack_command(cmd: tuple[str | int | float | bytes | memoryview, ...], /) -> bytes: ...
