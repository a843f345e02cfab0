from typing import Any

from typing_extensions import Self

from ._reply import Reply
from .connection import ConnectionInterface, ConnectionPool
from .retry import Retry
from .typing import EncodableT

class Redis:
    connection_pool: ConnectionPool
    # Set by `single_connection_client=True` only.
    connection: ConnectionInterface | None
    auto_close_connection_pool: bool
    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Redis: ...
    @classmethod
    def from_pool(cls, connection_pool: ConnectionPool) -> Redis: ...
    # The other options are redis-py's; see its documentation.
    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        db: int = 0,
        password: str | None = None,
        socket_timeout: float | None = 5,
        socket_connect_timeout: float | None = 5,
        **kwargs: Any,
    ) -> None: ...
    def get_connection_kwargs(self) -> dict[str, Any]: ...
    def get_retry(self) -> Retry | None: ...
    def set_retry(self, retry: Retry) -> None: ...
    def client(self) -> Self: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None: ...
    def close(self) -> None: ...
    def execute_command(self, *args: EncodableT, **options: object) -> Reply: ...

StrictRedis = Redis
