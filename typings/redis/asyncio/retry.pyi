from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.backoff import AbstractBackoff
from redis.exceptions import RedisError
from redis.retry import AbstractRetry

T = TypeVar("T")

class Retry(AbstractRetry[RedisError]):
    def __init__(
        self,
        backoff: AbstractBackoff,
        retries: int,
        supported_errors: tuple[type[RedisError], ...] = ...,
    ) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[[Exception], object] | Callable[[Exception, int], object],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T: ...
