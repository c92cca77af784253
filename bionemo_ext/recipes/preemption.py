"""A run that is told to end (SIGTERM) saves first and goes on when it is started again."""

import signal
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch

from bionemo_ext.recipes.saving import WholeCheckpoints


class Preempted(Exception):  # noqa: N818  (nothing went wrong)
    """The run was told to end, and a whole checkpoint says from where it goes on."""


class Stop(pl.Callback):
    """Stop after the step in which any rank received SIGTERM; the newest checkpoint stands."""

    asked = False

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Take the signal over from Lightning, which would end without saving."""
        signal.signal(signal.SIGTERM, self._ask)
        self.asked = trainer.received_sigterm

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Agree with the other ranks, whom the signal may have reached a step later.

        Raises
        ------
        Preempted
            On all ranks, once everything is saved that is to be.
        """
        asked = torch.tensor([float(self.asked)], device=torch.cuda.current_device())
        torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
        if asked.item() and trainer.global_step < trainer.max_steps:
            self.save(trainer)
            raise Preempted

    def save(self, trainer: pl.Trainer) -> None:
        """Save what the stop must not lose; here nothing."""


class SaveAndStop(Stop):
    """Save after the step in which any rank received SIGTERM, and stop.

    Parameters
    ----------
    checkpoints : WholeCheckpoints
        What saves.
    """

    def __init__(self, checkpoints: WholeCheckpoints) -> None:
        self.checkpoints = checkpoints

    def save(self, trainer: pl.Trainer) -> None:
        """Save, and wait until the checkpoint is whole."""
        self.checkpoints.save_and_wait(trainer)
