"""Markdown that every part of a model card is made of."""

from collections.abc import Sequence

NOT_KNOWN = "not known"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """A Markdown table; None is not known."""
    cells = [[NOT_KNOWN if c is None else str(c) for c in row] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return ["| " + " | ".join(line) + " |" for line in lines]
