"""How an error names a sequence of a request, which has no name there."""

import re
from collections.abc import Sequence

_POSITION = re.compile(r"record '(\d+) of \d+'")


def position_name(position: int, count: int) -> str:
    """Name the sequence at ``position`` (from 0) of a request with ``count`` of them.

    The server knows no other name; :func:`with_names` puts the caller's in its place.
    """
    return f"{position + 1} of {count}"


def is_about_a_record(message: str) -> bool:
    """Whether an error of the server says what is wrong with a sequence of the request."""
    return _POSITION.search(message) is not None


def with_names(message: str, names: Sequence[str]) -> str:
    """Replace positions that :func:`position_name` wrote into an error by the records' names."""

    def name(match: re.Match[str]) -> str:
        position = int(match[1]) - 1
        return f"record {names[position]!r}" if position < len(names) else match[0]

    return _POSITION.sub(name, message)
