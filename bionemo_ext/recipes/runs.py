"""The folder of a pretraining run.

``run.yaml``
    The configuration it was started with.
``metrics.jsonl``
    One line a step: loss, learning rate, tokens, seconds; and one a validation.
``checkpoints/step-00000100/weights``
    Megatron's distributed format. A folder of that name is always whole.
``checkpoints/best``
    A link to the one with the lowest validation loss.
``huggingface``
    The last weights for everybody else's tools.
"""

import json
import math
import re
from pathlib import Path

RUN_FILE = "run.yaml"
METRICS_FILE = "metrics.jsonl"
PARTIAL = ".partial"
_CHECKPOINT = re.compile(r"step-(\d{8})")


def checkpoint_name(step: int) -> str:
    """Folder name of the checkpoint after ``step`` optimizer steps."""
    return f"step-{step:08d}"


def is_checkpoint(path: Path) -> bool:
    """Whether a path is named like a whole checkpoint."""
    return bool(_CHECKPOINT.fullmatch(path.name))


def checkpoint_step(path: Path) -> int:
    """Optimizer steps behind a whole checkpoint, by its name."""
    return int(path.name.removeprefix("step-"))


def whole_checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder that were written to the end, oldest first."""
    return sorted(p for p in (folder.iterdir() if folder.is_dir() else []) if is_checkpoint(p))


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest whole checkpoint of a run's folder, if it has one."""
    return next(reversed(whole_checkpoints(run / "checkpoints")), None)


def newest_step(run: Path) -> int:
    """Steps behind the newest whole checkpoint of a run's folder; 0 without any."""
    newest = newest_checkpoint(run)
    return checkpoint_step(newest) if newest else 0


def best_checkpoints(run: Path) -> list[Path]:
    """Return the whole checkpoints that were validated, lowest validation loss first."""
    losses = {
        row["step"]: row["val_loss"]
        for row in read_metrics(run)
        if not math.isnan(row.get("val_loss", math.nan))
    }
    whole = whole_checkpoints(run / "checkpoints")
    validated = [path for path in whole if checkpoint_step(path) in losses]
    return sorted(validated, key=lambda path: losses[checkpoint_step(path)])


def read_metrics(run: Path) -> list[dict[str, float]]:
    """Read ``metrics.jsonl``; a last line that a killed run left half is left out."""
    path, rows = run / METRICS_FILE, []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows
