"""What commands that ask a server read of certificates and tokens, in one place."""

import os
from pathlib import Path
from typing import TypedDict

from bionemo_ext.client.wire.access import Tls
from bionemo_ext.errors import InputError

# Where a command has no --token-file.
TOKEN_VARIABLE = "BIONEMO_EXT_TOKEN"  # noqa: S105 (a name, and no token)


class AccessWords(TypedDict):
    """What a client takes besides its address."""

    tls: Tls | None
    token: str | None


def access_words(
    *,
    tls_ca: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    token_file: Path | None = None,
) -> AccessWords:
    """Read certificates and the token: ``Client(url, **access_words(token_file=...))``.

    Parameters
    ----------
    tls_ca, tls_cert, tls_key : Path, optional
        PEM files, as :class:`~bionemo_ext.client.Tls` takes them.
    token_file : Path, optional
        A file with the token alone; the variable ``BIONEMO_EXT_TOKEN`` when not given.

    Raises
    ------
    InputError
        If a file cannot be read, or has not what it should have.
    """
    files = (tls_ca, tls_cert, tls_key)
    return {
        "tls": Tls(*files) if any(files) else None,
        "token": read_token(token_file) if token_file else os.environ.get(TOKEN_VARIABLE) or None,
    }


def read_token(path: Path) -> str:
    """Read a token from a file; white space around it does not count.

    Raises
    ------
    InputError
        If the file cannot be read, or is not one line.
    """
    try:
        words = path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise InputError(f"{path} cannot be read: {reason}") from None
    if len(words) != 1:
        raise InputError(f"{path} must have a token and nothing else, and has {len(words)} words")
    return words[0]
