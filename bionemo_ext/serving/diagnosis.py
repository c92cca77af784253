"""What went wrong with a tritonserver, in one sentence, out of its log."""

import re
from collections.abc import Sequence

_LOAD_FAILED = re.compile(r"failed to load '([^']+)' version \d+: (.*)")
_NO_LIBRARY = re.compile(r"error while loading shared libraries: ([^\s:]+)")
_BIND_FAILED = re.compile(
    r"[Ff]ailed to (?:start|bind|create) .*(?:address|socket|port|[Ss]ervice)"
)


def why_nothing_starts(log: Sequence[str]) -> str | None:
    """Name the library that a model's process lacks; None when the log speaks of none."""
    for line in log:
        if match := _NO_LIBRARY.search(line):
            return (
                f"this machine lacks the library {match[1]}, with which tritonserver runs models; "
                "install a Python 3.11 that has its shared library"
            )
    return None


def why_it_ended(log: Sequence[str], exit_code: int | None) -> str:
    """Say why the server ended: a model that does not load, a port, or the last error."""
    for line in log:
        if match := _LOAD_FAILED.search(line):
            return f"the model {match[1]!r} does not load: {_innermost(match[2])}"
        if _BIND_FAILED.search(line):
            return f"the server could not listen: {_message(line)}"
    errors = [line for line in log if line.startswith("E")]
    last = (errors or list(log) or ["it left no log"])[-1]
    return why_nothing_starts(log) or (
        f"the server ended with exit code {exit_code}: {_message(last)}"
    )


def _message(line: str) -> str:
    """Strip time and place from a line of the log."""
    return line.partition("] ")[2] or line


def _innermost(reason: str) -> str:
    """Strip Triton's and Python's own words from the message of a model's exception."""
    # A quoted text: what follows the first escaped line break is Python's trace.
    message = reason.strip('"').partition(r"\n")[0]
    return re.sub(r"^(?:(?:Internal|[A-Za-z_]*Error|[A-Z_]+): )+", "", message).strip()
