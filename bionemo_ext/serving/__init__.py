"""A local tritonserver, and the code that runs inside it."""

import warnings

from bionemo_ext.serving.command import Control, LogLevel, Policy, Tls
from bionemo_ext.serving.local import LocalServer
from bionemo_ext.serving.supervise import keep_running

__all__ = ["Control", "LocalServer", "LogLevel", "Policy", "Tls", "keep_running"]

# Of an import inside PyTorch, before a model's own code: nothing that who serves can mend.
warnings.filterwarnings("ignore", "The pynvml package is deprecated", FutureWarning)
