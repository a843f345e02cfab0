from typing import TypeAlias

EncodedT: TypeAlias = bytes | bytearray | memoryview
DecodedT: TypeAlias = str | int | float
EncodableT: TypeAlias = EncodedT | DecodedT
KeyT: TypeAlias = bytes | str | memoryview
