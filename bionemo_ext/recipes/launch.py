"""Start a command once a rank on this machine, and end all ranks when one ends badly."""

import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import psutil
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from bionemo_ext.errors import InputError, RunError
from bionemo_ext.recipes.ranks import LAUNCHER, prepare_environment


def run_ranks(arguments: Sequence[str], ranks: int, tensor: int) -> None:
    """Run ``python -m bionemo_ext <arguments>`` once a rank and wait for all.

    Parameters
    ----------
    arguments : sequence of str
        The command.
    ranks, tensor : int
        How many, and between how many of them each tensor of the model is divided.

    Raises
    ------
    RunError
        If a rank fails; the others are ended first.
    """
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=ranks,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=0,
        # SIGTERM is for the ranks, which save and end well. The agent would kill them half a
        # minute on.
        signals_to_handle="SIGINT,SIGHUP,SIGQUIT",
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    os.environ[LAUNCHER] = str(os.getpid())
    prepare_environment(tensor)
    signal.signal(signal.SIGTERM, _tell_ranks)
    # The elastic agent logs each rank that fails; what went wrong the rank has told itself.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        elastic_launch(config, sys.executable)("-m", "bionemo_ext", *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode == InputError.exit_code:
            sys.exit(InputError.exit_code)  # the rank has told the sentence
        raise RunError(f"rank {rank} of {ranks} ended with exit code {failure.exitcode}") from None


def _tell_ranks(number: int, frame: FrameType | None) -> None:
    ranks = psutil.Process().children()
    for rank in ranks:
        rank.send_signal(number)
    if not ranks:  # none has been started: there is nothing to save, and nobody to pass it on to
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
