"""Items of a stream that need answers: each question is asked once, ahead of its answer."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

# What a question is about, such as a protein, and what is asked of it.
Key = tuple[str, Any]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def noted(items: Iterable[Item], into: deque[Item]) -> Iterator[Item]:
    """Yield items, and note each for whoever gets its answer, since models read ahead of those."""
    for item in items:
        into.append(item)
        yield item


def answered(
    needs: Iterable[tuple[Item, tuple[Key, ...]]],
    ask: Callable[[Iterable[Key]], Iterator[Answer]],
) -> Iterator[tuple[Item, list[Answer]]]:
    """Give each item its answers, in the order of the items.

    Answers are kept while items about the same subject follow each other, and asked anew after.

    Parameters
    ----------
    needs : iterable of (item, tuple of Key)
        Items and their questions; read as far as ``ask`` reads questions ahead.
    ask : callable
        Takes questions and yields an answer to each, in order.

    Yields
    ------
    item, answers
    """
    waiting: deque[tuple[Item, tuple[Key, ...]]] = deque()
    asked: deque[Key] = deque()
    answers: dict[Key, Answer] = {}

    def questions() -> Iterator[Key]:
        subject, seen = None, set()
        for item, keys in needs:
            waiting.append((item, keys))
            for key in keys:
                if key[0] != subject:
                    subject, seen = key[0], set()
                if key not in seen:
                    seen.add(key)
                    asked.append(key)
                    yield key

    def ready() -> Iterator[tuple[Item, list[Answer]]]:
        while waiting and all(key in answers for key in waiting[0][1]):
            item, keys = waiting.popleft()
            yield item, [answers[key] for key in keys]

    subject = None
    for answer in ask(questions()):
        key = asked.popleft()
        if key[0] != subject:
            yield from ready()  # items without a question of their own came in between
            subject, answers = key[0], {}
        answers[key] = answer
        yield from ready()
    yield from ready()
