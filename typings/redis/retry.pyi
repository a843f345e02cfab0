import abc
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from .backoff import AbstractBackoff

T = TypeVar("T")
E = TypeVar("E", bound=Exception, covariant=True)

class AbstractRetry(Generic[E], abc.ABC):
    def __init__(
        self, backoff: AbstractBackoff, retries: int, supported_errors: tuple[type[E], ...]
    ) -> None: ...
    @abc.abstractmethod
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def update_supported_errors(self, specified_errors: Iterable[type[Exception]]) -> None: ...
    def get_retries(self) -> int: ...
    def update_retries(self, value: int) -> None: ...

class Retry(AbstractRetry[Exception]):
    def __init__(
        self,
        backoff: AbstractBackoff,
        retries: int,
        supported_errors: tuple[type[Exception], ...] = ...,
    ) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[[Exception], object] | Callable[[Exception, int], object],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T: ...
