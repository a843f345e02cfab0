# The part of redis-py 8.1 that the drivers use, exactly as its source is (redis-py's own types are
# unions of a value and an awaitable, or Any). `make types` compares it with the installed source.
from . import asyncio as asyncio
from . import backoff as backoff
from . import client as client
from . import cluster as cluster
from . import connection as connection
from . import crc as crc
from . import credentials as credentials
from . import exceptions as exceptions
from . import retry as retry
from . import sentinel as sentinel
from . import utils as utils
from .backoff import default_backoff as default_backoff
from .client import Redis as Redis
from .client import StrictRedis as StrictRedis
from .cluster import RedisCluster as RedisCluster
from .connection import BlockingConnectionPool as BlockingConnectionPool
from .connection import Connection as Connection
from .connection import ConnectionPool as ConnectionPool
from .connection import SSLConnection as SSLConnection
from .connection import UnixDomainSocketConnection as UnixDomainSocketConnection
from .credentials import CredentialProvider as CredentialProvider
from .credentials import UsernamePasswordCredentialProvider as UsernamePasswordCredentialProvider
from .exceptions import AuthenticationError as AuthenticationError
from .exceptions import (
    AuthenticationWrongNumberOfArgsError as AuthenticationWrongNumberOfArgsError,
)
from .exceptions import BusyLoadingError as BusyLoadingError
from .exceptions import ConnectionError as ConnectionError
from .exceptions import DataError as DataError
from .exceptions import InvalidResponse as InvalidResponse
from .exceptions import MaxConnectionsError as MaxConnectionsError
from .exceptions import OutOfMemoryError as OutOfMemoryError
from .exceptions import PubSubError as PubSubError
from .exceptions import ReadOnlyError as ReadOnlyError
from .exceptions import RedisClusterException as RedisClusterException
from .exceptions import RedisError as RedisError
from .exceptions import ResponseError as ResponseError
from .exceptions import TimeoutError as TimeoutError
from .exceptions import WatchError as WatchError
from .sentinel import Sentinel as Sentinel
from .sentinel import SentinelConnectionPool as SentinelConnectionPool
from .utils import from_url as from_url

__version__: str
VERSION: tuple[int | str, ...]
