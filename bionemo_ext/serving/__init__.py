"""A local tritonserver, and the code that runs inside it."""

from bionemo_ext.serving.local import LocalServer, LogLevel

__all__ = ["LocalServer", "LogLevel"]
