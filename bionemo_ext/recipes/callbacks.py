"""What happens beside a training step: whole checkpoints, figures on disk, progress on screen."""

import json
import math
import shutil
import time
from pathlib import Path
from typing import IO, Any

import lightning.pytorch as pl
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bionemo_ext.recipes.runs import (
    METRICS_FILE,
    PARTIAL,
    checkpoint_name,
    read_metrics,
    whole_checkpoints,
)


class WholeCheckpoints(pl.Callback):
    """Save every few steps and at the end, so that a folder of a step's name is always whole.

    NeMo writes under a temporary name; the folder takes its real name when all ranks are done.

    Parameters
    ----------
    folder : Path
        Where the checkpoints lie.
    every : int
        Steps between two.
    keep : int
        How many of the newest stay.
    """

    def __init__(self, folder: Path, every: int, keep: int) -> None:
        self.folder, self.every, self.keep = folder, every, keep

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Forget how far the validation before the checkpoint came: the next one is whole too."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.reset()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Save when it is time."""
        last = trainer.global_step == trainer.max_steps
        if last:
            trainer.should_stop = True  # has Lightning validate once more, in a resumed run too
        if last or trainer.global_step % self.every == 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        final = self.folder / checkpoint_name(trainer.global_step)
        if final.is_dir():
            return
        partial = final.with_name(final.name + PARTIAL)
        if trainer.is_global_zero:
            shutil.rmtree(partial, ignore_errors=True)
        trainer.strategy.barrier()
        trainer.save_checkpoint(partial)
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            partial.replace(final)
            for old in whole_checkpoints(self.folder)[: -self.keep]:
                # Killed halfway, what is left must not bear the name of a whole one.
                leaving = old.replace(old.with_name(old.name + PARTIAL))
                shutil.rmtree(leaving)
        trainer.strategy.barrier()


class Figures(pl.Callback):
    """Loss, rate and validation of the first rank, to ``metrics.jsonl`` and to the screen.

    Parameters
    ----------
    run : Path
        The run's folder. Lines from beyond the resumed step are dropped first.
    every : int
        Steps between two training lines.
    """

    def __init__(self, run: Path, every: int) -> None:
        self.run, self.every = run, every
        self.tokens, self.padded = 0, 0
        self.began = self.seconds_before = 0.0
        self.validated: set[float] = set()
        self.file: IO[str] | None = None
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Open the file and the bar where the run stands."""
        self.began = time.monotonic()
        if not trainer.is_global_zero:
            return
        kept = [r for r in read_metrics(self.run) if r["step"] <= trainer.global_step]
        # A run that goes on from a step where validation is due validates there again.
        self.validated = {r["step"] for r in kept if "val_loss" in r}
        self.seconds_before = max((r["seconds"] for r in kept), default=0.0)
        self.tokens = max((r.get("tokens", 0) for r in kept), default=0)
        path = self.run / METRICS_FILE
        partial = path.with_name(path.name + PARTIAL)
        partial.write_text("".join(json.dumps(r) + "\n" for r in kept))
        partial.replace(path)
        self.file = path.open("a", buffering=1)
        self.progress = Progress(
            TextColumn("step {task.completed:,}/{task.total:,}"),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.task = self.progress.add_task(
            "starting", total=trainer.max_steps, completed=trainer.global_step
        )
        if self.progress.console.is_terminal:
            self.progress.start()
        self.first_tokens = self.tokens

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Note the step's loss."""
        step = trainer.global_step
        tokens, padded = pl_module.tokens_seen()
        self.tokens, self.padded = self.tokens + tokens, self.padded + padded
        if self.file is None:
            return
        loss = float(outputs["loss"])
        rate = (self.tokens - self.first_tokens) / (time.monotonic() - self.began)
        share = 1 - (self.tokens - self.first_tokens) / max(1, self.padded)
        text = f"loss {loss:.3f}  {rate:,.0f} tokens/s  padding {share:.0%}"
        self.progress.update(self.task, completed=step, description=text)
        self._write(
            {
                "step": step,
                "loss": loss,
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "tokens": self.tokens,
                "padding": round(share, 4),
            },
            echo=step % self.every == 0 or step == trainer.max_steps,
            text=f"step {step}/{trainer.max_steps}  {text}",
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the loss over the whole validation set."""
        loss = pl_module.validation_loss()
        if self.file is None or trainer.global_step in self.validated:
            return
        perplexity = math.exp(min(loss, 700))  # a run that diverged is still written down
        self._write(
            {"step": trainer.global_step, "val_loss": loss, "val_perplexity": perplexity},
            echo=True,
            text=f"step {trainer.global_step}  validation loss {loss:.4f}  "
            f"perplexity {perplexity:.2f}",
        )

    def on_train_end(self, *_: Any) -> None:
        """Close what is open."""
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Give the terminal back before an error is shown."""
        self._close()

    def _close(self) -> None:
        if self.file is not None:
            if self.progress.console.is_terminal:
                self.progress.stop()
            self.file.close()
            self.file = None

    def _write(self, row: dict[str, float], *, echo: bool, text: str) -> None:
        row["seconds"] = round(self.seconds_before + time.monotonic() - self.began, 3)
        self.file.write(json.dumps(row) + "\n")
        terminal = self.progress.console.is_terminal
        if echo and (not terminal or "val_loss" in row):
            self.progress.console.print(text, highlight=False, soft_wrap=True)
