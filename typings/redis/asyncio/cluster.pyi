from collections.abc import Callable, Generator
from typing import Any

from redis._reply import Reply
from redis.exceptions import AskError, MovedError
from redis.typing import EncodableT

from .connection import AbstractConnection, Connection
from .retry import Retry

class ClusterNode:
    host: str
    port: str | int
    name: str
    server_type: str | None
    max_connections: int
    connection_class: type[Connection]
    connection_kwargs: dict[str, Any]
    def __init__(
        self,
        host: str,
        port: str | int,
        server_type: str | None = None,
        *,
        max_connections: int = 100,
        connection_class: type[Connection] = ...,
        **connection_kwargs: Any,
    ) -> None: ...
    def __eq__(self, obj: object) -> bool: ...
    def __hash__(self) -> int: ...
    async def disconnect(self) -> None: ...
    # One of the node's, not necessarily connected; MaxConnectionsError where all are in use.
    def acquire_connection(self) -> Connection: ...
    async def disconnect_if_needed(self, connection: AbstractConnection) -> None: ...
    def release(self, connection: AbstractConnection) -> None: ...
    async def execute_command(
        self, *args: EncodableT, asking: bool = False, **kwargs: object
    ) -> Reply: ...

class NodesManager:
    nodes_cache: dict[str, ClusterNode]
    slots_cache: dict[int, list[ClusterNode]]
    startup_nodes: dict[str, ClusterNode]
    default_node: ClusterNode | None
    connection_kwargs: dict[str, Any]
    require_full_coverage: bool
    # DataError where neither a name nor host and port are given.
    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None: ...
    # KeyError or SlotNotCoveredError where no node serves the slot.
    def get_node_from_slot(
        self,
        slot: int,
        read_from_replicas: bool = False,
        load_balancing_strategy: object = None,
    ) -> ClusterNode: ...
    def get_nodes_by_server_type(self, server_type: str) -> list[ClusterNode]: ...
    async def move_slot(self, e: AskError | MovedError) -> None: ...
    async def initialize(
        self,
        additional_startup_nodes_info: list[tuple[str, int]] | None = None,
        last_failed_node_name: str | None = None,
    ) -> None: ...
    async def aclose(self, attr: str = "nodes_cache") -> None: ...

class RedisCluster:
    nodes_manager: NodesManager
    connection_kwargs: dict[str, Any]
    read_from_replicas: bool
    reinitialize_steps: int
    retry: Retry
    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> RedisCluster: ...
    # The other options are redis-py's; see its documentation.
    def __init__(
        self,
        host: str | None = None,
        port: str | int = 6379,
        startup_nodes: list[ClusterNode] | None = None,
        require_full_coverage: bool = True,
        read_from_replicas: bool = False,
        load_balancing_strategy: object = None,
        dynamic_startup_nodes: bool = True,
        reinitialize_steps: int = 5,
        cluster_error_retry_attempts: int = 10,
        max_connections: int = 100,
        retry: Retry | None = None,
        *,
        address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
        **kwargs: Any,
    ) -> None: ...
    async def initialize(
        self,
        additional_startup_nodes_info: list[tuple[str, int]] | None = None,
        last_failed_node_name: str | None = None,
    ) -> RedisCluster: ...
    def __await__(self) -> Generator[Any, None, RedisCluster]: ...
    async def __aenter__(self) -> RedisCluster: ...
    async def __aexit__(self, exc_type: object, exc_value: object, traceback: object) -> None: ...
    async def aclose(self) -> None: ...
    def get_connection_kwargs(self) -> dict[str, Any]: ...
    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None: ...
    def get_nodes(self) -> list[ClusterNode]: ...
    def get_primaries(self) -> list[ClusterNode]: ...
    def get_replicas(self) -> list[ClusterNode]: ...
    def get_default_node(self) -> ClusterNode: ...
    def get_node_from_key(self, key: EncodableT, replica: bool = False) -> ClusterNode | None: ...
    def keyslot(self, key: EncodableT) -> int: ...
    def set_retry(self, retry: Retry) -> None: ...
    async def execute_command(self, *args: EncodableT, **kwargs: object) -> Reply: ...
