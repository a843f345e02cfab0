from redis.exceptions import AuthenticationError as AuthenticationError
from redis.exceptions import BusyLoadingError as BusyLoadingError
from redis.exceptions import ConnectionError as ConnectionError
from redis.exceptions import RedisError as RedisError
from redis.exceptions import ResponseError as ResponseError
from redis.exceptions import TimeoutError as TimeoutError

from .client import Redis as Redis
from .client import StrictRedis as StrictRedis
from .cluster import RedisCluster as RedisCluster
from .connection import BlockingConnectionPool as BlockingConnectionPool
from .connection import Connection as Connection
from .connection import ConnectionPool as ConnectionPool
from .connection import SSLConnection as SSLConnection
from .connection import UnixDomainSocketConnection as UnixDomainSocketConnection
from .sentinel import Sentinel as Sentinel
from .sentinel import SentinelConnectionPool as SentinelConnectionPool
from .utils import from_url as from_url
