from collections.abc import Iterator, Sequence
from typing import Any

from ._reply import Reply
from .client import Redis
from .connection import Connection, ConnectionPool, SSLConnection
from .exceptions import ConnectionError

class MasterNotFoundError(ConnectionError): ...
class SlaveNotFoundError(ConnectionError): ...

class SentinelManagedConnection(Connection):
    connection_pool: object
    def __init__(self, **kwargs: Any) -> None: ...
    def connect_to(self, address: tuple[str, int]) -> None: ...
    # Raises ConnectionError for READONLY from a former master, and reconnects to the new one.
    def read_response(
        self,
        disable_decoding: bool = False,
        *,
        timeout: float | object | None = ...,
        disconnect_on_error: bool | None = False,
        push_request: bool | None = False,
    ) -> Reply: ...

class SentinelManagedSSLConnection(SentinelManagedConnection, SSLConnection): ...

class SentinelConnectionPool(ConnectionPool):
    is_master: bool
    check_connection: bool
    service_name: str
    sentinel_manager: Sentinel
    def __init__(self, service_name: str, sentinel_manager: Sentinel, **kwargs: Any) -> None: ...
    @property
    def master_address(self) -> tuple[str, int] | None: ...
    def get_master_address(self) -> tuple[str, int]: ...
    def rotate_replicas(self) -> Iterator[tuple[str, int]]: ...

class Sentinel:
    sentinels: list[Redis]
    min_other_sentinels: int
    connection_kwargs: dict[str, Any]
    def __init__(
        self,
        sentinels: Sequence[tuple[str, int]],
        min_other_sentinels: int = 0,
        sentinel_kwargs: dict[str, Any] | None = None,
        force_master_ip: str | None = None,
        **connection_kwargs: Any,
    ) -> None: ...
    def discover_master(self, service_name: str) -> tuple[str, int]: ...
    def master_for(
        self,
        service_name: str,
        redis_class: type[Redis] = ...,
        connection_pool_class: type[SentinelConnectionPool] = ...,
        **kwargs: Any,
    ) -> Redis: ...
    def close(self) -> None: ...
