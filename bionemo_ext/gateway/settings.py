"""What a gateway is told when it starts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bionemo_ext.client import AsyncClient
from bionemo_ext.errors import InputError

# Makes a client of one of the server's models, of the default one where the name is None.
Connect = Callable[[str | None], AsyncClient]

_ROUTE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_TOKEN = re.compile(r"[\x21-\x7e]{8,512}")


@dataclass(frozen=True)
class Settings:
    """How a gateway behaves.

    Parameters
    ----------
    aliases : mapping of str to str
        Further names of models in paths, such as ``esm2-650m``, and the server's models they mean.
    token : str, optional
        Callers must send it as ``Authorization: Bearer``; no token, no question.
    max_body_bytes : int
        Larger requests are refused with 413.
    under_way : int
        Requests that are being answered at once; each holds its answer in memory.
    waiting : int
        Requests that may wait for that; more are refused with 429.

    Raises
    ------
    InputError
        If an alias could not stand in a path, or the token not in a header.
    """

    aliases: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    max_body_bytes: int = 1 << 20
    under_way: int = 4
    waiting: int = 64

    def __post_init__(self) -> None:
        for route in self.aliases:
            if not _ROUTE.fullmatch(route):
                raise InputError(
                    f"{route!r} cannot be the name of a model in a path: a letter, then at most "
                    "63 letters, digits, '_', '.' or '-'"
                )
        if self.token is not None and not _TOKEN.fullmatch(self.token):
            raise InputError("a token has 8 to 512 printable ASCII characters without white space")


def parse_aliases(options: list[str]) -> dict[str, str]:
    """Read ``esm2-650m=esm2_650m`` and its like.

    Raises
    ------
    InputError
        If one has another form, or a name is given twice.
    """
    aliases: dict[str, str] = {}
    for option in options:
        route, equals, model = option.partition("=")
        if not (route and equals and model):
            raise InputError(f"--model {option!r} has another form than esm2-650m=esm2_650m")
        if route in aliases:
            raise InputError(f"--model names {route!r} twice")
        aliases[route] = model
    return aliases
