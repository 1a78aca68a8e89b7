import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.patience import until


async def told(answer: object) -> object:
    return answer


async def never() -> None:
    await asyncio.get_running_loop().create_future()


async def late() -> bool:
    raise TimeoutError("its own")


@pytest.mark.parametrize("ask", [lambda answer: answer, told], ids=["function", "coroutine"])
async def test_what_comes_at_last_is_returned(ask: Callable[[object], object]) -> None:
    answers: Iterator[object] = iter([None, [], 0, "here"])
    assert await until(lambda: ask(next(answers))) == "here"


@pytest.mark.parametrize("fact", [lambda: False, lambda: told(None), never])
async def test_what_does_not_come_is_named(fact: Callable[[], Awaitable[object] | bool]) -> None:
    with pytest.raises(AssertionError, match=r"not within 0\.05 s: the rain"):
        await until(fact, "the rain", 0.05)


async def test_what_a_fact_raises_is_raised() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        await until(late)
