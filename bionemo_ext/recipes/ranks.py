"""What a process knows of being a rank, without importing PyTorch."""

import os
import signal

from bionemo_ext.parent import end_with_parent

# Set by our launcher to its process id.
LAUNCHER = "BIONEMO_EXT_LAUNCHER"


def environment(tensor: int) -> dict[str, str]:
    """Variables of ranks that divide a model's tensors between so many."""
    # By it Megatron has the collectives of the backward pass start before the product that they
    # overlap with (megatron/core/tensor_parallel/layers.py).
    return {"CUDA_DEVICE_MAX_CONNECTIONS": "1"} if tensor > 1 else {}


def prepare_environment(tensor: int) -> None:
    """Set :func:`environment` here and in ranks to come; what is set already stays.

    CUDA reads it once, so this comes first.
    """
    for name, value in environment(tensor).items():
        os.environ.setdefault(name, value)


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


def serve_until_parent_ends() -> None:
    """:func:`end_with_parent`, and leave SIGTERM to the rank, which saves with this one's help.

    torchrun signals a rank's whole process group.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()
