"""Loss, speed and validation of a run: to ``metrics.jsonl``, the screen and dashboards."""

import json
import math
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bionemo_ext.models.costs import peak_flops, training_flops
from bionemo_ext.recipes.module import mean_loss
from bionemo_ext.recipes.runs import METRICS_FILE, read_metrics
from bionemo_ext.whole import whole

# Steps that the shown rate is taken over.
_WINDOW = 20


class Speed:
    """Tokens and model FLOPs a second over the last steps.

    Parameters
    ----------
    peak : float or None
        What all devices together could do, FLOP/s, if it is known.
    """

    def __init__(self, peak: float | None) -> None:
        self.peak, self.first = peak, True
        self.steps: deque[tuple[float, float, float]] = deque(maxlen=_WINDOW)
        self.began = time.monotonic()

    def pause(self) -> None:
        """Begin to count anew: validation is not training."""
        self.steps.clear()
        self.began = time.monotonic()

    def note(self, tokens: float, flops: float) -> dict[str, float]:
        """Add a step; give tokens/s, TFLOP/s and, where the peak is known, MFU."""
        now = time.monotonic()
        self.steps.append((now - self.began, tokens, flops))
        self.began = now
        seconds, tokens, flops = (sum(column) for column in zip(*self.steps, strict=True))
        if self.first:  # it also starts workers, allocates and compiles
            self.first = False
            self.steps.clear()
        rates = {"tokens_per_s": tokens / seconds, "tflops": flops / seconds / 1e12}
        if self.peak:
            rates["mfu"] = flops / seconds / self.peak
        return {name: float(f"{rate:.4g}") for name, rate in rates.items()}


class Figures(pl.Callback):
    """What the first rank tells of a run.

    Parameters
    ----------
    run : Path
        The run's folder. Lines from beyond the resumed step are dropped first.
    every : int
        Steps between two training lines where the screen is not a terminal.
    loggers : sequence of Logger
        Dashboards that get the same figures.
    fp8 : bool
        Whether the peak to compare with is that of FP8.
    """

    def __init__(
        self, run: Path, every: int, loggers: Sequence[Logger] = (), *, fp8: bool = False
    ) -> None:
        self.run, self.every, self.loggers, self.fp8 = run, every, loggers, fp8
        self.tokens = self.seconds_before = 0.0
        self.shown: dict[str, float] = {"tokens": 0.0, "padded": 0.0}
        self.validated: set[float] = set()
        self.file: IO[str] | None = None
        self.progress: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        """Open the file and the bar where the run stands."""
        self.began = time.monotonic()
        self.speed = Speed(_peak(trainer.world_size, self.fp8))
        if not trainer.is_global_zero:
            return
        kept = [r for r in read_metrics(self.run) if r["step"] <= trainer.global_step]
        # A run that goes on from a step where validation is due validates there again.
        self.validated = {r["step"] for r in kept if "val_loss" in r}
        self.seconds_before = max((r["seconds"] for r in kept), default=0.0)
        self.tokens = max((r.get("tokens", 0) for r in kept), default=0)
        path = self.run / METRICS_FILE
        with whole(path) as new:
            new.write_text("".join(json.dumps(r) + "\n" for r in kept))
        self.file = path.open("a", buffering=1)
        self.progress = _bar()
        self.task = self.progress.add_task(
            "starting", total=trainer.max_steps, completed=trainer.global_step
        )
        if self.progress.console.is_terminal:
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Note the step's loss."""
        step = trainer.global_step
        counts = pl_module.training_counts()
        flops = training_flops(
            pl_module.architecture, int(counts["tokens"]), counts["squared_lengths"]
        )
        rates = self.speed.note(counts["tokens"], flops)
        if self.file is None:
            return
        loss = mean_loss(counts)
        self.tokens += counts["tokens"]
        for name in self.shown:
            self.shown[name] += counts[name]
        padding = 1 - self.shown["tokens"] / self.shown["padded"]
        text = _line(loss, rates, padding)
        self.progress.update(self.task, completed=step, description=text)
        self._write(
            {
                "step": step,
                "loss": loss,
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "tokens": int(self.tokens),
                "padding": round(padding, 4),
                **rates,
            },
            echo=step % self.every == 0 or step == trainer.max_steps,
            text=f"step {step}/{trainer.max_steps}  {text}",
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Note the loss over the whole validation set."""
        loss = pl_module.validation_loss()
        self.speed.pause()
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
        self._close("success")

    def on_exception(self, *_: Any) -> None:
        """Give the terminal back before an error is shown."""
        self._close("failed")

    def _close(self, status: str) -> None:
        if self.file is None:
            return
        if self.progress.console.is_terminal:
            self.progress.stop()
        self.file.close()
        self.file = None
        for logger in self.loggers:
            logger.finalize(status)

    def _write(self, row: dict[str, float], *, echo: bool, text: str) -> None:
        row["seconds"] = round(self.seconds_before + time.monotonic() - self.began, 3)
        self.file.write(json.dumps(row) + "\n")
        for logger in self.loggers:
            logger.log_metrics({k: v for k, v in row.items() if k != "step"}, int(row["step"]))
        terminal = self.progress.console.is_terminal
        if echo and (not terminal or "val_loss" in row):
            self.progress.console.print(text, highlight=False, soft_wrap=True)


def _bar() -> Progress:
    return Progress(
        TextColumn("step {task.completed:,}/{task.total:,}"),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


def _line(loss: float, rates: dict[str, float], padding: float) -> str:
    work = f"MFU {rates['mfu']:.0%}" if "mfu" in rates else f"{rates['tflops']:.3g} TFLOP/s"
    return f"loss {loss:.3f}  {rates['tokens_per_s']:,.0f} tokens/s  {work}  padding {padding:.0%}"


def _peak(devices: int, fp8: bool) -> float | None:
    if not torch.cuda.is_available():
        return None
    peak = peak_flops(torch.cuda.get_device_name(), "fp8" if fp8 else "bf16")
    return peak * devices if peak else None
