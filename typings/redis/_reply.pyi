# Not a module of redis-py: the value of a reply, which redis-py itself leaves untyped.
# Import it under TYPE_CHECKING only.
from typing import TypeAlias

from .exceptions import ResponseError

# bytes where decoding is off (`disable_decoding=True`), str where it is on; float, bool, dict and
# set only with RESP3; an error only inside a list (EXEC). A top-level error is raised.
Reply: TypeAlias = (
    bytes
    | str
    | int
    | float
    | bool
    | None
    | list["Reply"]
    | dict[bytes | str | int, "Reply"]
    | set[bytes | str | int]
    | ResponseError
)
