"""Checkpoints that are whole or not there, written while training goes on.

A save goes to a folder of a temporary name; the folder takes its real name when all ranks have
written their parts. The processes that write end with the rank that they write for.
"""

import multiprocessing
import queue
import shutil
from functools import partial
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from nemo.lightning.io.pl import MegatronCheckpointIO
from nemo.utils.callbacks.dist_ckpt_io import AsyncFinalizableCheckpointIO

from bionemo_ext.recipes.model_file import write_architecture
from bionemo_ext.recipes.ranks import serve_until_parent_ends
from bionemo_ext.recipes.runs import PARTIAL, best_checkpoints, checkpoint_name, whole_checkpoints


def checkpoint_io(*, background: bool) -> MegatronCheckpointIO | AsyncFinalizableCheckpointIO:
    """What writes and reads Megatron's distributed format, in the background or not."""
    if not background:
        filesystem_async._results_queue = queue.Queue()
        return MegatronCheckpointIO()
    # Megatron's own queue lives in a server process that outlives a killed rank.
    manager = SyncManager(ctx=multiprocessing.get_context("spawn"))
    manager.start(initializer=serve_until_parent_ends)
    filesystem_async._results_queue = manager.Queue()
    filesystem_async._results_queue.manager = manager  # it ends when it is collected
    return AsyncFinalizableCheckpointIO(_MortalWriter(async_save=True))


class _MortalWriter(MegatronCheckpointIO):
    """A checkpoint writer whose background process ends with its rank."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> AsyncRequest:
        request = super().save_checkpoint(checkpoint, path, storage_options)
        if request.async_fn is None:  # a rank that has nothing to write
            return request
        return request._replace(async_fn=partial(_write, request.async_fn))


def _write(write: Any, *args: Any, **kwargs: Any) -> None:
    serve_until_parent_ends()
    write(*args, **kwargs)


class WholeCheckpoints(pl.Callback):
    """Save every few steps and at the end; keep the newest and the best.

    Parameters
    ----------
    run : Path
        The run's folder.
    every : int
        Steps between two.
    keep : int
        How many of the newest stay.
    keep_best : int
        How many of those with the lowest validation loss stay besides.
    """

    def __init__(self, run: Path, every: int, keep: int, keep_best: int) -> None:
        self.run, self.folder = run, run / "checkpoints"
        self.every, self.keep, self.keep_best = every, keep, keep_best

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Forget how far the validation before the checkpoint came: the next one is whole too."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when it is time; NeMo's own callback sees whether one in the background is done."""
        last = trainer.global_step == trainer.max_steps
        if last:
            trainer.should_stop = True  # has Lightning validate once more, in a resumed run too
        if last or trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """A checkpoint may have turned out the best."""
        if trainer.is_global_zero:
            self._prune()

    def save(self, trainer: pl.Trainer) -> None:
        """Save now; all ranks must ask."""
        _settle(trainer)
        final = self.folder / checkpoint_name(trainer.global_step)
        if final.is_dir():
            return
        partly = final.with_name(final.name + PARTIAL)
        if trainer.is_global_zero:
            shutil.rmtree(partly, ignore_errors=True)
        trainer.strategy.barrier()
        finish = partial(self._finish, trainer, partly, final)
        if isinstance(trainer.strategy.checkpoint_io, AsyncFinalizableCheckpointIO):
            trainer.save_checkpoint(partly, storage_options={"finalize_fn": finish})
        else:
            trainer.save_checkpoint(partly)
            trainer.strategy.barrier()
            finish()
            trainer.strategy.barrier()

    def save_and_wait(self, trainer: pl.Trainer) -> None:
        """Save now, and return when the checkpoint is whole."""
        self.save(trainer)
        _settle(trainer)

    def _finish(self, trainer: pl.Trainer, partly: Path, final: Path) -> None:
        if trainer.is_global_zero:
            write_architecture(partly, trainer.lightning_module.architecture)
            partly.replace(final)
            self._prune()

    def _prune(self) -> None:
        whole = whole_checkpoints(self.folder)
        best = best_checkpoints(self.run)
        link = self.folder / "best"
        if best and self.keep_best:
            new = link.with_name(link.name + PARTIAL)
            new.unlink(missing_ok=True)
            new.symlink_to(best[0].name)
            new.replace(link)
        for old in whole[: -self.keep]:
            if old in best[: self.keep_best]:
                continue
            # Killed halfway, what is left must not bear the name of a whole one.
            leaving = old.replace(old.with_name(old.name + PARTIAL))
            shutil.rmtree(leaving)


def _settle(trainer: pl.Trainer) -> None:
    """Wait for what is still being written."""
    writer = trainer.strategy.checkpoint_io
    if isinstance(writer, AsyncFinalizableCheckpointIO):
        writer.maybe_finalize_save_checkpoint(blocking=True)
