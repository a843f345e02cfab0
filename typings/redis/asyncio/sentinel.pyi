from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.exceptions import ConnectionError

from .client import Redis
from .connection import Connection, ConnectionPool, SSLConnection

class MasterNotFoundError(ConnectionError): ...
class SlaveNotFoundError(ConnectionError): ...

class SentinelManagedConnection(Connection):
    connection_pool: object
    def __init__(self, **kwargs: Any) -> None: ...
    async def connect_to(self, address: tuple[str, int]) -> None: ...

class SentinelManagedSSLConnection(SentinelManagedConnection, SSLConnection): ...

class SentinelConnectionPool(ConnectionPool):
    is_master: bool
    check_connection: bool
    service_name: str
    sentinel_manager: Sentinel
    master_address: tuple[str, int] | None
    def __init__(self, service_name: str, sentinel_manager: Sentinel, **kwargs: Any) -> None: ...
    async def get_master_address(self) -> tuple[str, int]: ...
    def rotate_replicas(self) -> AsyncIterator[tuple[str, int]]: ...

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
    async def discover_master(self, service_name: str) -> tuple[str, int]: ...
    def master_for(
        self,
        service_name: str,
        redis_class: type[Redis] = ...,
        connection_pool_class: type[SentinelConnectionPool] = ...,
        **kwargs: Any,
    ) -> Redis: ...
    async def aclose(self) -> None: ...
