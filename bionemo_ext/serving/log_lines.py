"""tritonserver's log as JSON lines, for whatever collects logs."""

import json
import re
from datetime import UTC, datetime
from typing import Any

# A letter and the date, the time, the process and the place in the code; then the message.
_LINE = re.compile(r"([IWEV])\d{4} [\d:.]+ \d+ [^\]]+\] (.*)")
_LEVELS = {"I": "info", "W": "warning", "E": "error", "V": "verbose"}


def as_json(line: str) -> str:
    """Bring a line of tritonserver's log into JSON.

    Parameters
    ----------
    line : str
        As tritonserver wrote it.

    Returns
    -------
    str
        An object with ``time`` (UTC, when the line was read: Triton's own lacks the year),
        ``level`` and ``message``; what a model wrote as JSON has its own keys in place of that.
    """
    match = _LINE.fullmatch(line)
    level, message = (_LEVELS[match[1]], _unquoted(match[2])) if match else ("info", line)
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    said = message if isinstance(message, dict) else {"message": message}
    return json.dumps({"time": time, "level": level, **said})


def _unquoted(text: str) -> str | dict[str, Any]:
    """Take the quotes off that Triton puts around a message, and read it where it is an object."""
    for _ in range(2):
        try:
            found = json.loads(text)
        except ValueError:
            break
        if isinstance(found, dict):
            return found
        if not isinstance(found, str):
            break
        text = found
    return text
