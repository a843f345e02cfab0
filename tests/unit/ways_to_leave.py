"""Ways to leave a loop, each with what must become of the message in hand.

``DONE``, ``FAILED``, or ``ENDED`` (the loop came to its end by itself). Each function takes an
iterable and leaves it; an exception may come out of it. ``WAYS`` and ``ASYNC_WAYS`` list them
with how many items they take.
"""

# ruff: noqa: B007, C416, C420, UP028 - written as users write it, not as it would be shortest

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any

DONE, FAILED, ENDED = "done", "failed", "ended"

Source = Any
Way = Callable[[Source], object]
AsyncWay = Callable[[Source], Coroutine[Any, Any, object]]

WAYS: list[tuple[Way, int, str]] = []
ASYNC_WAYS: list[tuple[AsyncWay, int, str]] = []


class Boom(Exception):
    """What the bodies raise."""


def way(taken: int, verdict: str) -> Callable[[Way], Way]:
    def register(function: Way) -> Way:
        WAYS.append((function, taken, verdict))
        return function

    return register


def async_way(taken: int, verdict: str) -> Callable[[AsyncWay], AsyncWay]:
    def register(function: AsyncWay) -> AsyncWay:
        ASYNC_WAYS.append((function, taken, verdict))
        return function

    return register


def boom(*_: object) -> Any:
    raise Boom


def nothing(*_: object) -> None:
    pass


@contextlib.contextmanager
def room() -> Iterator[None]:
    yield


# ------------------------------------------------- break and return: it is known that all is well


@way(1, DONE)
def plain_break(source: Source) -> None:
    for _ in source:
        break


@way(2, DONE)
def conditional_break(source: Source) -> None:
    for n, _ in enumerate(source):
        if n == 1:
            break
        nothing()
    nothing()


@way(1, DONE)
def plain_return(source: Source) -> None:
    for _ in source:
        return


@way(1, DONE)
def return_of_a_value(source: Source) -> object:
    for item in source:
        return item
    return None


@way(1, DONE)
def return_of_a_constant(source: Source) -> int:
    for _ in source:
        return 7
    return 8


@way(3, DONE)
def return_of_a_call(source: Source) -> object:
    for n, item in enumerate(source):
        if n == 2:
            return repr(item)
    return None


@way(1, DONE)
def break_out_of_two_loops(source: Source) -> None:
    for _ in range(3):
        for _ in source:
            for _ in range(3):
                break
            break
        break


@way(1, DONE)
def return_out_of_three_loops(source: Source) -> object:
    for a in range(3):
        for _ in source:
            for b in range(3):
                return a, b
    return None


@way(1, DONE)
def return_out_of_a_while(source: Source) -> None:
    while True:
        for _ in source:
            while True:
                return


@way(1, DONE)
def break_in_try_finally(source: Source) -> None:
    for _ in source:
        try:
            break
        finally:
            nothing(1)


@way(1, DONE)
def return_in_try_finally(source: Source) -> object:
    for item in source:
        try:
            return nothing(item)
        finally:
            nothing(1)
            del item
    return None


@way(1, DONE)
def loop_inside_try_finally(source: Source) -> object:
    try:
        for item in source:
            return item
    finally:
        nothing()
    return None


@way(1, DONE)
def break_in_finally_swallows(source: Source) -> None:
    for _ in source:
        try:
            boom()
        finally:
            break  # noqa: B012 - on purpose


@way(1, DONE)
def break_in_except(source: Source) -> None:
    for _ in source:
        try:
            boom()
        except Boom as error:
            nothing(error)
            break


@way(1, DONE)
def return_in_except(source: Source) -> object:
    for _ in source:
        try:
            boom()
        except Boom as error:
            return str(error)
    return None


@way(1, DONE)
def break_in_with(source: Source) -> None:
    for _ in source:
        with room():
            break


@way(1, DONE)
def return_in_two_withs(source: Source) -> object:
    for item in source:
        with room(), room():
            return repr(item)
    return None


@way(1, DONE)
def loop_inside_with(source: Source) -> object:
    with room():
        for item in source:
            return item
    return None


@way(1, DONE)
def break_in_suppress(source: Source) -> None:
    for _ in source:
        with contextlib.suppress(Boom):
            boom()
        break


@way(1, DONE)
def break_in_match(source: Source) -> None:
    for item in source:
        match item:
            case None:
                pass
            case _:
                break


@way(3, DONE)
def break_after_continue(source: Source) -> None:
    for n, item in enumerate(source):
        if n < 2:
            continue
        if item:
            break


@way(1, DONE)
def break_before_else(source: Source) -> None:
    for _ in source:
        break
    else:
        boom()


@way(1, DONE)
def break_after_an_inner_loop(source: Source) -> None:
    for _ in source:
        for _ in range(3):
            nothing()
        break


@way(1, DONE)
def return_after_a_comprehension(source: Source) -> object:
    for item in source:
        found = [item for _ in range(3)]
        if found:
            return found
    return None


@way(1, DONE)
def break_then_exception(source: Source) -> None:
    for _ in source:
        break
    boom()


@way(2, DONE)
def break_of_zip(source: Source) -> None:
    for _, n in zip(source, itertools.count(), strict=False):
        if n == 1:
            break


@way(1, DONE)
def break_in_exec(source: Source) -> None:
    exec("for _ in source:\n    break", {"source": source})


@way(1, DONE)
def break_in_class_body(source: Source) -> None:
    class Body:
        for item in source:
            break

    del Body


@way(1, DONE)
def break_inside_a_generator(source: Source) -> None:
    def numbers() -> Iterator[int]:
        for _ in source:
            yield 1
            break
        yield 2

    assert list(numbers()) == [1, 2]


@way(1, DONE)
def break_before_a_long_jump(source: Source) -> None:
    lines = "\n".join(f"    x = {n} + x * y" for n in range(200))
    code = f"x = y = 0\nfor item in source:\n    if item: break\n{lines}\n"
    exec(code, {"source": source})


# ------------------------------------------------------------------------- exceptions: failed


@way(1, FAILED)
def exception_out_of_the_function(source: Source) -> None:
    for _ in source:
        boom()


@way(2, FAILED)
def exception_from_an_operator(source: Source) -> None:
    for n, _ in enumerate(source):
        1 // (1 - n)


@way(1, FAILED)
def exception_by_raise(source: Source) -> None:
    for _ in source:
        raise Boom


@way(1, FAILED)
def exception_by_assert(source: Source) -> None:
    for item in source:
        assert not item


@way(1, FAILED)
def exception_by_name(source: Source) -> None:
    for _ in source:
        no_such_name  # type: ignore[name-defined] # noqa: B018, F821


@way(1, FAILED)
def exception_caught_in_the_same_function(source: Source) -> None:
    try:
        for _ in source:
            boom()
    except Boom:
        pass
    nothing()


@way(1, FAILED)
def exception_caught_and_kept(source: Source) -> BaseException | None:
    kept = None
    try:
        for _ in source:
            boom()
    except Boom as error:
        kept = error
    return kept


@way(1, FAILED)
def exception_suppressed(source: Source) -> None:
    with contextlib.suppress(Boom):
        for _ in source:
            boom()


@way(1, FAILED)
def exception_caught_in_the_caller(source: Source) -> None:
    with contextlib.suppress(Boom):
        exception_out_of_the_function(source)


@way(1, FAILED)
def exception_in_a_nested_function(source: Source) -> None:
    def inner() -> None:
        for _ in source:
            boom()

    for _ in range(3):
        try:
            inner()
        except Boom:
            break


@way(1, FAILED)
def exception_through_finally(source: Source) -> None:
    for _ in source:
        try:
            boom()
        finally:
            nothing(1)


@way(1, FAILED)
def exception_out_of_finally(source: Source) -> object:
    for item in source:
        try:
            return item
        finally:
            boom()
    return None


@way(1, FAILED)
def exception_through_with(source: Source) -> None:
    for _ in source:
        with room(), room():
            boom()


@way(1, FAILED)
def exception_out_of_an_exit(source: Source) -> object:
    for item in source:
        with contextlib.ExitStack() as stack:
            stack.callback(boom)
            return item
    return None


@way(1, FAILED)
def exception_out_of_except(source: Source) -> None:
    for _ in source:
        try:
            boom()
        except Boom as error:
            raise ValueError from error


@way(1, FAILED)
def exception_in_an_inner_loop(source: Source) -> None:
    for _ in source:
        for _ in range(3):
            while True:
                boom()


@way(1, FAILED)
def exception_in_an_assignment(source: Source) -> None:
    for item in source:
        a, b = (item,)  # type: ignore[misc]  # it must raise
        nothing(a, b)


@way(1, FAILED)
def interrupt(source: Source) -> None:
    for _ in source:
        raise KeyboardInterrupt


@way(1, FAILED)
def exit_(source: Source) -> None:
    for _ in source:
        sys.exit(3)


@way(1, FAILED)
def exception_in_exec(source: Source) -> None:
    exec("for _ in source:\n    1 // 0", {"source": source})


@way(1, FAILED)
def exception_in_class_body(source: Source) -> None:
    class Body:
        for item in source:
            boom()


@way(1, FAILED)
def exception_in_a_list_comprehension(source: Source) -> None:
    [boom(item) for item in source]


@way(1, FAILED)
def exception_in_a_dict_comprehension(source: Source) -> None:
    {item: 1 // 0 for item in source}


@way(2, FAILED)
def exception_in_the_condition(source: Source) -> None:
    {n for n, _ in enumerate(source) if 1 // (1 - n)}


@way(1, FAILED)
def exception_in_a_comprehension_caught_at_once(source: Source) -> None:
    try:
        [boom(item) for item in source]
    except Boom:
        pass


@way(1, FAILED)
def exception_in_a_comprehension_within_a_loop(source: Source) -> None:
    for _ in range(1):
        try:
            [boom(item) for item in source]
        except Boom as error:
            kept = error
            break
    del kept


@way(1, FAILED)
def exception_in_a_nested_comprehension(source: Source) -> None:
    [[boom(n) for n in range(3)] for _ in source]


@way(1, FAILED)
def exception_in_a_generator_expression(source: Source) -> None:
    sum(boom(item) for item in source)


@way(1, FAILED)
def exception_in_map(source: Source) -> None:
    for _ in map(boom, source):
        pass


@way(1, FAILED)
def exception_in_filter(source: Source) -> None:
    list(filter(boom, source))


@way(1, FAILED)
def exception_in_sorted_key(source: Source) -> None:
    max(source, key=boom)


@way(1, FAILED)
def exception_thrown_into_a_generator(source: Source) -> None:
    generator = wrapped(source)
    next(generator)
    generator.throw(Boom())


@way(1, FAILED)
def exception_in_the_loop_of_a_generator(source: Source) -> None:
    def numbers() -> Iterator[None]:
        for item in source:
            yield boom(item)

    for _ in numbers():
        pass


# ------------------------------------------------------------------ it cannot be known: failed


def wrapped(source: Iterable[Any]) -> Generator[Any, None, None]:
    for item in source:
        yield item


@way(1, FAILED)
def generator_expression_left_early(source: Source) -> None:
    assert any(item for item in source)


@way(1, FAILED)
def generator_closed_early(source: Source) -> None:
    for _ in wrapped(source):
        break


@way(1, FAILED)
def generator_closed_by_exception(source: Source) -> None:
    for _ in wrapped(source):
        boom()


@way(1, FAILED)
def generator_closed_by_hand(source: Source) -> None:
    generator = wrapped(source)
    next(generator)
    generator.close()


@way(1, FAILED)
def generator_dropped(source: Source) -> None:
    next(wrapped(source))


@way(1, FAILED)
def yield_from_left_early(source: Source) -> None:
    def numbers() -> Iterator[Any]:
        yield from source

    for _ in numbers():
        break


@way(1, FAILED)
def next_of_iter(source: Source) -> None:
    next(iter(source))


@way(2, FAILED)
def iterator_deleted(source: Source) -> None:
    iterator = iter(source)
    next(iterator)
    next(iterator)
    del iterator


@way(1, FAILED)
def iterator_overwritten(source: Source) -> None:
    iterator = iter(source)
    next(iterator)
    iterator = None


@way(1, FAILED)
def iterator_kept_past_its_loop(source: Source) -> None:
    iterator = iter(source)
    for _ in iterator:
        break
    nothing()


@way(1, FAILED)
def iterator_in_a_container(source: Source) -> None:
    held = [iter(source)]
    next(held[0])
    held.pop()


@way(1, FAILED)
def iterator_in_a_container_with_an_exception(source: Source) -> None:
    held = [iter(source)]
    try:
        for _ in held[0]:
            boom()
    except Boom:
        held.pop()


@way(1, FAILED)
def iterator_in_a_queue_awaited_later(source: Source) -> None:
    held = deque([iter(source)])

    def first() -> None:
        with contextlib.suppress(Boom):
            for _ in held[0]:
                boom()

    def second() -> None:
        held.popleft()

    # The frame of the second may lie where that of the first has been.
    first()
    second()


@way(2, FAILED)
def islice(source: Source) -> None:
    for _ in itertools.islice(source, 2):
        pass


@way(3, FAILED)
def zip_takes_one_too_many(source: Source) -> None:
    for _ in zip(source, range(2), strict=False):
        pass


@way(3, FAILED)
def zip_in_a_list(source: Source) -> None:
    list(zip(source, range(2), strict=False))


@way(1, FAILED)
def zip_dropped(source: Source) -> None:
    next(zip(source, range(2), strict=False))


@way(3, FAILED)
def unpacking_too_many(source: Source) -> None:
    a, b = source
    nothing(a, b)


@way(1, FAILED)
def membership(source: Source) -> None:
    class Everything:
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]  # it must raise

    assert Everything() in source


# ------------------------------------------------------------------------------- to the end


@way(5, ENDED)
def to_the_end(source: Source) -> None:
    for _ in source:
        pass


@way(5, ENDED)
def to_the_end_and_on(source: Source) -> None:
    for _ in source:
        nothing()
    else:
        boom()


@way(5, ENDED)
def listed(source: Source) -> None:
    assert len(list(source)) == 5


@way(5, ENDED)
def comprehended(source: Source) -> None:
    assert len([item for item in source]) == 5


@way(5, ENDED)
def unpacked(source: Source) -> None:
    first, *rest = source
    nothing(first, rest)


@way(5, ENDED)
def to_the_end_of_a_generator(source: Source) -> None:
    assert sum(1 for _ in wrapped(source)) == 5


# ------------------------------------------------------------------------------- async for


async def aboom(*_: object) -> Any:
    await asyncio.sleep(0)
    raise Boom


@contextlib.asynccontextmanager
async def aroom() -> AsyncIterator[None]:
    await asyncio.sleep(0)
    yield
    await asyncio.sleep(0)


@async_way(1, DONE)
async def async_break(source: Source) -> None:
    async for _ in source:
        break


@async_way(2, DONE)
async def async_break_after_awaits(source: Source) -> None:
    n = 0
    async for _ in source:
        await asyncio.sleep(0)
        n += 1
        if n == 2:
            break
    await asyncio.sleep(0)


@async_way(1, DONE)
async def async_return(source: Source) -> None:
    async for _ in source:
        return


@async_way(1, DONE)
async def async_return_of_an_await(source: Source) -> object:
    async for item in source:
        return await asyncio.sleep(0, item)
    return None


@async_way(1, DONE)
async def async_break_in_with(source: Source) -> None:
    async for _ in source:
        async with aroom():
            break


@async_way(1, DONE)
async def async_return_in_try_finally(source: Source) -> object:
    async for item in source:
        try:
            return item
        finally:
            await asyncio.sleep(0)
    return None


@async_way(1, DONE)
async def async_break_in_except(source: Source) -> None:
    async for _ in source:
        try:
            await aboom()
        except Boom:
            break


@async_way(1, DONE)
async def async_break_after_an_inner_loop(source: Source) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    async for _ in source:
        async for _ in numbers():
            pass
        break


@async_way(1, DONE)
async def async_break_out_of_two_loops(source: Source) -> None:
    while True:
        async for _ in source:
            for _ in range(3):
                break
            break
        break


@async_way(1, FAILED)
async def async_exception(source: Source) -> None:
    async for _ in source:
        boom()


@async_way(1, FAILED)
async def async_exception_out_of_an_await(source: Source) -> None:
    async for _ in source:
        await aboom()


@async_way(1, FAILED)
async def async_exception_caught(source: Source) -> None:
    try:
        async for _ in source:
            await aboom()
    except Boom:
        await asyncio.sleep(0)


@async_way(1, FAILED)
async def async_exception_through_with(source: Source) -> None:
    async for _ in source:
        async with aroom():
            await aboom()


@async_way(1, FAILED)
async def async_exception_in_a_comprehension(source: Source) -> None:
    [await aboom(item) async for item in source]


@async_way(1, FAILED)
async def async_timeout(source: Source) -> None:
    async for _ in source:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(5)


@async_way(1, FAILED)
async def async_cancelled(source: Source) -> None:
    async def consume() -> None:
        async for _ in source:
            await asyncio.sleep(5)

    task = asyncio.create_task(consume())
    await asyncio.sleep(0.05)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@async_way(1, FAILED)
async def async_generator_closed_early(source: Source) -> None:
    async def items() -> AsyncIterator[Any]:
        async for item in source:
            yield item

    async with contextlib.aclosing(items()) as generator:  # type: ignore[type-var]  # an async generator
        async for _ in generator:
            break


@async_way(1, FAILED)
async def async_anext(source: Source) -> None:
    await anext(aiter(source))


@async_way(5, ENDED)
async def async_to_the_end(source: Source) -> None:
    async for _ in source:
        await asyncio.sleep(0)


@async_way(5, ENDED)
async def async_listed(source: Source) -> None:
    assert len([item async for item in source]) == 5
