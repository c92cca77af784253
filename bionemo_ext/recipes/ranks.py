"""What a process knows of being a rank, without importing PyTorch."""

import ctypes
import os
import signal
import sys

# Set by our launcher to its process id.
LAUNCHER = "BIONEMO_EXT_LAUNCHER"
_PR_SET_PDEATHSIG = 1


def in_rank() -> bool:
    """Whether this process is a rank that our launcher or torchrun started."""
    return "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ


def launched_by_us() -> bool:
    """Whether our launcher started this rank, having checked and prepared the run."""
    return LAUNCHER in os.environ


def end_with_launcher() -> None:
    """Have the kernel end this rank when our launcher is killed, so that none trains on alone."""
    end_with_parent()
    if os.getppid() != int(os.environ[LAUNCHER]):  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def serve_until_parent_ends() -> None:
    """:func:`end_with_parent`, and leave SIGTERM to the rank, which saves with this one's help.

    torchrun signals a rank's whole process group.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()
