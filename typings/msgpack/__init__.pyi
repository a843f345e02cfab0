# The part of msgpack 1.x that the MsgPack serializer uses.
from collections.abc import Callable
from typing import TypeAlias

from .exceptions import BufferFull as BufferFull
from .exceptions import ExtraData as ExtraData
from .exceptions import FormatError as FormatError
from .exceptions import OutOfData as OutOfData
from .exceptions import StackError as StackError
from .exceptions import UnpackException as UnpackException
from .exceptions import UnpackValueError as UnpackValueError
from .ext import ExtType as ExtType
from .ext import Timestamp as Timestamp

# What comes out of `unpackb` where no hook changes it.
Unpacked: TypeAlias = (
    None
    | bool
    | int
    | float
    | str
    | bytes
    | ExtType
    | Timestamp
    | list["Unpacked"]
    | dict[str | bytes | int | float | bool | None, "Unpacked"]
)

version: tuple[int, int, int]
__version__: str

# TypeError for what msgpack has no form for, OverflowError for ints over 64 bits,
# ValueError beyond a limit or for nesting that is too deep.
def packb(
    o: object,
    *,
    default: Callable[[object], object] | None = None,
    use_single_float: bool = False,
    autoreset: bool = True,
    use_bin_type: bool = True,
    strict_types: bool = False,
    datetime: bool = False,
    unicode_errors: str | None = None,
) -> bytes: ...

# ValueError (FormatError, StackError, ExtraData are ones) for bytes that are not msgpack.
def unpackb(
    packed: bytes | bytearray | memoryview,
    *,
    use_list: bool = True,
    raw: bool = False,
    timestamp: int = 0,
    strict_map_key: bool = True,
    object_hook: Callable[[dict[object, object]], object] | None = None,
    object_pairs_hook: Callable[[list[tuple[object, object]]], object] | None = None,
    list_hook: Callable[[list[object]], object] | None = None,
    unicode_errors: str | None = None,
    ext_hook: Callable[[int, bytes], object] = ...,
    max_str_len: int = -1,
    max_bin_len: int = -1,
    max_array_len: int = -1,
    max_map_len: int = -1,
    max_ext_len: int = -1,
) -> Unpacked: ...
