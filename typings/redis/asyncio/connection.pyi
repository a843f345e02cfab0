from abc import ABC
from collections.abc import Iterable
from typing import Any

from typing_extensions import Self

from redis._reply import Reply
from redis.typing import EncodableT

from .retry import Retry

class AbstractConnection:
    db: str | int
    client_name: str | None
    username: str | None
    password: str | None
    socket_timeout: float | None
    socket_connect_timeout: float | None
    retry: Retry
    retry_on_error: list[type[Exception]]
    health_check_interval: float
    next_health_check: float
    protocol: int
    def __init__(
        self, *, db: str | int = 0, password: str | None = None, **kwargs: Any
    ) -> None: ...
    @property
    def is_connected(self) -> bool: ...
    async def connect(self) -> None: ...
    async def connect_check_health(
        self, check_health: bool = True, retry_socket_connect: bool = True
    ) -> None: ...
    async def on_connect(self) -> None: ...
    async def on_connect_check_health(self, check_health: bool = True) -> None: ...
    # `nowait`: close the socket without waiting for the transport to say so.
    async def disconnect(
        self,
        nowait: bool = False,
        error: Exception | None = None,
        failure_count: int | None = None,
        health_check_failed: bool = False,
    ) -> None: ...
    async def check_health(self) -> None: ...
    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,
    ) -> None: ...
    async def send_command(self, *args: EncodableT, **kwargs: bool) -> None: ...
    async def can_read(self) -> bool: ...
    # `timeout` None: the connection's own `socket_timeout`. `math.inf`: wait without end.
    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Reply: ...
    def pack_command(self, *args: EncodableT) -> list[bytes]: ...
    def pack_commands(self, commands: Iterable[Iterable[EncodableT]]) -> list[bytes]: ...
    def get_protocol(self) -> int: ...
    def mark_for_reconnect(self) -> None: ...
    def should_reconnect(self) -> bool: ...
    def reset_should_reconnect(self) -> None: ...

class Connection(AbstractConnection):
    host: str
    port: int
    socket_keepalive: bool
    socket_type: int
    def __init__(
        self,
        *,
        host: str = "localhost",
        port: str | int = 6379,
        socket_keepalive: bool = True,
        socket_keepalive_options: object = ...,
        socket_type: int = 0,
        **kwargs: Any,
    ) -> None: ...

class SSLConnection(Connection):
    def __init__(
        self,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        ssl_cert_reqs: object = "required",
        **kwargs: Any,
    ) -> None: ...

class UnixDomainSocketConnection(AbstractConnection):
    path: str
    def __init__(self, *, path: str = "", **kwargs: Any) -> None: ...

class ConnectionPoolInterface(ABC): ...

class ConnectionPool(ConnectionPoolInterface):
    connection_class: type[AbstractConnection]
    max_connections: int
    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Self: ...
    def __init__(
        self,
        connection_class: type[AbstractConnection] = ...,
        max_connections: int | None = None,
        maint_notifications_config: object = None,
        **connection_kwargs: Any,
    ) -> None: ...
    @property
    def connection_kwargs(self) -> dict[str, Any]: ...
    @connection_kwargs.setter
    def connection_kwargs(self, value: dict[str, Any]) -> None: ...
    def get_protocol(self) -> int | str | None: ...
    def reset(self) -> None: ...
    def can_get_connection(self) -> bool: ...
    # Its source also takes a command's name and keys, which are deprecated and unused.
    async def get_connection(
        self, command_name: str | None = None, *keys: object, **options: object
    ) -> AbstractConnection: ...
    # One from the pool, not necessarily connected.
    def get_available_connection(self) -> AbstractConnection: ...
    def make_connection(self) -> AbstractConnection: ...
    async def ensure_connection(self, connection: AbstractConnection) -> None: ...
    async def release(self, connection: AbstractConnection) -> None: ...
    async def disconnect(self, inuse_connections: bool = True) -> None: ...
    async def aclose(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, exc_type: object, exc_value: object, traceback: object) -> None: ...
    def set_retry(self, retry: Retry) -> None: ...

class BlockingConnectionPool(ConnectionPool):
    timeout: float | None
    def __init__(
        self,
        max_connections: int = 50,
        timeout: float | None = 20,
        connection_class: type[AbstractConnection] = ...,
        queue_class: object = ...,
        **connection_kwargs: Any,
    ) -> None: ...
