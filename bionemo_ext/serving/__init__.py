"""A local tritonserver, and the code that runs inside it."""

import warnings

from bionemo_ext.serving.local import LocalServer, LogLevel

__all__ = ["LocalServer", "LogLevel"]

# Of an import inside PyTorch, before a model's own code: nothing that who serves can mend.
warnings.filterwarnings("ignore", "The pynvml package is deprecated", FutureWarning)
