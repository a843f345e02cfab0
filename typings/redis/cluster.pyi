from collections.abc import Callable
from typing import Any, Literal

from typing_extensions import Self

from ._reply import Reply
from .client import Redis
from .connection import ConnectionPool
from .exceptions import AskError, MovedError
from .retry import Retry
from .typing import EncodableT

class ClusterNode:
    host: str
    port: int | str
    name: str
    server_type: Literal["primary", "replica"] | None
    # Made by `RedisCluster.get_redis_connection`.
    redis_connection: Redis | None
    def __init__(
        self,
        host: str,
        port: int | str,
        server_type: Literal["primary", "replica"] | None = None,
        redis_connection: Redis | None = None,
    ) -> None: ...
    def __eq__(self, obj: object) -> bool: ...
    def __hash__(self) -> int: ...

class NodesManager:
    nodes_cache: dict[str, ClusterNode]
    slots_cache: dict[int, list[ClusterNode]]
    startup_nodes: dict[str, ClusterNode]
    default_node: ClusterNode | None
    connection_kwargs: dict[str, Any]
    connection_pool_class: type[ConnectionPool]
    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None: ...
    # SlotNotCoveredError where no node serves the slot.
    def get_node_from_slot(
        self,
        slot: int,
        read_from_replicas: bool = False,
        load_balancing_strategy: object = None,
        server_type: Literal["primary", "replica"] | None = None,
    ) -> ClusterNode: ...
    def get_nodes_by_server_type(
        self, server_type: Literal["primary", "replica"]
    ) -> list[ClusterNode]: ...
    def move_slot(self, e: AskError | MovedError) -> None: ...
    def create_redis_connections(self, nodes: list[ClusterNode]) -> None: ...
    def initialize(
        self,
        additional_startup_nodes_info: list[tuple[str, int]] | None = None,
        disconnect_startup_nodes_pools: bool = True,
        last_failed_node_name: str | None = None,
    ) -> None: ...
    def close(self) -> None: ...
    def reset(self) -> None: ...

class RedisCluster:
    nodes_manager: NodesManager
    read_from_replicas: bool
    reinitialize_steps: int
    retry: Retry
    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> RedisCluster: ...
    def __init__(
        self,
        host: str | None = None,
        port: int = 6379,
        startup_nodes: list[ClusterNode] | None = None,
        cluster_error_retry_attempts: int = 10,
        retry: Retry | None = None,
        require_full_coverage: bool = True,
        reinitialize_steps: int = 5,
        read_from_replicas: bool = False,
        load_balancing_strategy: object = None,
        dynamic_startup_nodes: bool = True,
        url: str | None = None,
        address_remap: Callable[[tuple[str, int]], tuple[str, int]] | None = None,
        **kwargs: Any,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, exc_type: object, exc_value: object, traceback: object) -> None: ...
    def get_connection_kwargs(self) -> dict[str, Any]: ...
    # Makes the node's client, with a connection pool of its own, when there is none yet.
    def get_redis_connection(self, node: ClusterNode) -> Redis: ...
    def get_node(
        self, host: str | None = None, port: int | None = None, node_name: str | None = None
    ) -> ClusterNode | None: ...
    def get_nodes(self) -> list[ClusterNode]: ...
    def get_primaries(self) -> list[ClusterNode]: ...
    def get_replicas(self) -> list[ClusterNode]: ...
    def get_default_node(self) -> ClusterNode | None: ...
    def get_node_from_key(self, key: EncodableT, replica: bool = False) -> ClusterNode | None: ...
    def keyslot(self, key: EncodableT) -> int: ...
    def set_retry(self, retry: Retry) -> None: ...
    def disconnect_connection_pools(self) -> None: ...
    def execute_command(self, *args: EncodableT, **kwargs: object) -> Reply: ...
    def close(self) -> None: ...
