"""What happens at the end of an epoch: figures, a checkpoint, and the decision to stop."""

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bionemo_ext.recipes.runs import METRICS_FILE
from bionemo_ext.recipes.saving import WholeCheckpoints
from bionemo_ext.whole import whole

Row = dict[str, float]


def is_over(rows: Sequence[Row], epochs: int, patience: int) -> bool:
    """Whether a training has had all its epochs, or ``patience`` of them without a better loss."""
    losses = [math.inf if math.isnan(row["val_loss"]) else row["val_loss"] for row in rows]
    waited = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    return len(losses) >= epochs or waited >= patience


class EpochCheckpoints(WholeCheckpoints):
    """Save after an epoch's validation; keep the newest and the best.

    Parameters
    ----------
    out : Path
        The task's folder.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out, every=1, keep=1, keep_best=1)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Wait for the epoch's end, where the figures are written first."""

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save; the losses of the epoch stand in ``metrics.jsonl`` already."""
        self.save(trainer)


class EpochFigures(pl.Callback):
    """A row an epoch in ``metrics.jsonl``, a bar on the terminal, and early stopping.

    Parameters
    ----------
    out : Path
        The task's folder.
    rows : list of Row
        Of the epochs that are behind the run.
    steps : int
        Optimizer steps in an epoch.
    batch : int
        Proteins in a step.
    epochs, patience : int
        Limit, and epochs without a lower validation loss after which training stops.
    """

    def __init__(
        self, out: Path, rows: list[Row], steps: int, batch: int, epochs: int, patience: int
    ) -> None:
        self.path, self.rows, self.steps, self.batch = out / METRICS_FILE, rows, steps, batch
        self.epochs, self.patience = epochs, patience

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Drop rows from beyond the checkpoint, and open the bar."""
        self.began = self.epoch_began = time.monotonic()
        self.first = trainer.global_step
        self.progress = _bar()
        self.task = self.progress.add_task(
            "training", total=self.epochs * self.steps, completed=self.first, rate=""
        )
        if not trainer.is_global_zero:
            return
        with whole(self.path) as new:
            new.write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        if self.progress.console.is_terminal:
            self.progress.start()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Move the bar."""
        done = trainer.global_step - self.first
        rate = done * self.batch / max(time.monotonic() - self.began, 1e-9)
        self.progress.update(
            self.task, completed=trainer.global_step, rate=f"{rate:,.0f} proteins/s"
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the epoch's losses; all ranks have the same and come to the same decision."""
        found = pl_module.figures()
        step = trainer.global_step
        # Lightning validates once more where a run goes on from.
        if not self.rows or self.rows[-1]["step"] < step:
            self._add(trainer, step, found)
        trainer.should_stop = is_over(self.rows, self.epochs, self.patience)

    def _add(self, trainer: pl.Trainer, step: int, found: Row) -> None:
        seconds, self.epoch_began = time.monotonic() - self.epoch_began, time.monotonic()
        row = {
            "epoch": step // self.steps,
            "step": step,
            "loss": found["loss"],
            "val_loss": found["val_loss"],
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "seconds": round(seconds, 3),
            "residues_per_s": float(f"{found['residues'] / seconds:.4g}"),
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        text = f"epoch {row['epoch']}  loss {row['loss']:.4f}  validation {row['val_loss']:.4f}"
        self.progress.update(self.task, description=text)
        if not self.progress.console.is_terminal:
            self.progress.console.print(text, highlight=False, soft_wrap=True)

    def on_train_end(self, *_: Any) -> None:
        """Close the bar."""
        self.progress.stop()

    def on_exception(self, *_: Any) -> None:
        """Give the terminal back before an error is shown."""
        if hasattr(self, "progress"):
            self.progress.stop()


def _bar() -> Progress:
    return Progress(
        TextColumn("step {task.completed:,}/{task.total:,}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
