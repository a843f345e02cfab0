from collections.abc import Generator
from typing import Any

from typing_extensions import Self

from redis._reply import Reply
from redis.typing import EncodableT

from .connection import AbstractConnection, ConnectionPool
from .retry import Retry

class Redis:
    connection_pool: ConnectionPool
    # Set by `single_connection_client=True` only.
    connection: AbstractConnection | None
    auto_close_connection_pool: bool
    @classmethod
    def from_url(
        cls,
        url: str,
        single_connection_client: bool = False,
        auto_close_connection_pool: bool | None = None,
        **kwargs: Any,
    ) -> Redis: ...
    @classmethod
    def from_pool(cls, connection_pool: ConnectionPool) -> Redis: ...
    # The other options are redis-py's; see its documentation.
    def __init__(
        self,
        *,
        host: str = "localhost",
        port: int = 6379,
        db: str | int = 0,
        password: str | None = None,
        socket_timeout: float | None = 5,
        socket_connect_timeout: float | None = 5,
        **kwargs: Any,
    ) -> None: ...
    def __await__(self) -> Generator[Any, None, Self]: ...
    async def initialize(self) -> Self: ...
    def get_connection_kwargs(self) -> dict[str, Any]: ...
    def get_retry(self) -> Retry | None: ...
    def set_retry(self, retry: Retry) -> None: ...
    def client(self) -> Redis: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, exc_type: object, exc_value: object, traceback: object) -> None: ...
    async def aclose(self, close_connection_pool: bool | None = None) -> None: ...
    async def execute_command(self, *args: EncodableT, **options: object) -> Reply: ...

StrictRedis = Redis
