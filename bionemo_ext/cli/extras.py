"""Commands that need more than the client says so in a sentence."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Wrap imports that only an extra of the package brings.

    Raises
    ------
    RunError
        If one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        from bionemo_ext.errors import RunError

        if (error.name or "").startswith("bionemo_ext"):
            raise
        raise RunError(
            f"{error.name} is not installed, which this command needs: "
            f"pip install 'bionemo-ext[{extra}]'"
        ) from None
