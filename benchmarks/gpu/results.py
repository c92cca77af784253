"""Figures on disk: one JSON line each, flushed at once, and a table made from them."""

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.options import Figures

LINES, TABLES, DETAILS = "results.jsonl", "tables.md", "details.txt"
# What a line says of its case; CUT: the time was over in the middle of it.
BEGUN, DONE, FAILED, CUT, PROGRESS = "begun", "done", "failed", "cut", "progress"
MACHINE = "machine"
_CUTS = 2  # a case that was cut so often is not begun again


class Results:
    """An append-only record of cases.

    Parameters
    ----------
    folder : Path
        Where it is, or is to be.
    mirror : Path, optional
        Another folder that is given the same.
    """

    def __init__(self, folder: Path, mirror: Path | None = None) -> None:
        self.folders = [folder] if mirror is None else [folder, mirror]
        for each in self.folders:
            each.mkdir(parents=True, exist_ok=True)

    def lines(self) -> Iterator[Figures]:
        """Every line so far; one that a killed process left unfinished is passed over."""
        path = self.folders[0] / LINES
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                yield json.loads(line)
            except ValueError:
                continue

    def ended(self, failed_since: float = 0.0) -> set[str]:
        """Cases that need not run again: done, failed since a time, or cut off too often."""
        lines = list(self.lines())
        done = {line["case"] for line in lines if line["status"] == DONE}
        cut = Counter(x["case"] for x in lines if x["status"] == CUT)
        often = {case for case, times in cut.items() if times >= _CUTS}
        return done | often | self.failed(failed_since)

    def failed(self, since: float = 0.0) -> set[str]:
        """Cases that have failed since a time."""
        failed = (line for line in self.lines() if line["status"] == FAILED)
        return {line["case"] for line in failed if line["time"] >= since}

    def open_case(self) -> tuple[str, float] | None:
        """The case that was begun last and has not ended, and when it began (Unix time)."""
        found = None
        for line in self.lines():
            if line["status"] == BEGUN:
                found = line["case"], line["time"]
            elif line["status"] in (DONE, FAILED, CUT):
                found = None
        return found

    def write(self, case: str, status: str, **figures: object) -> None:
        """Append a line; the table follows when a case has ended."""
        line = {"case": case, "status": status, "time": round(time.time(), 1), **figures}
        for folder in self.folders:
            with (folder / LINES).open("a") as file:
                file.write(json.dumps(line) + "\n")
                file.flush()
                os.fsync(file.fileno())
        if status in (DONE, FAILED):
            text = self.tables()
            for folder in self.folders:
                replace_text(folder / TABLES, text)

    def append_text(self, name: str, text: str) -> None:
        """Add to a text file beside the lines."""
        for folder in self.folders:
            with (folder / name).open("a") as file:
                file.write(text)

    def tables(self) -> str:
        """Markdown: one table a part, the last line of each case."""
        parts: dict[str, dict[str, Figures]] = {}
        for line in self.lines():
            if line["status"] in (DONE, FAILED):
                part, _, rest = line["case"].partition("/")
                parts.setdefault(part, {})[rest] = line
        return "\n".join(f"## {part}\n\n{_table(rows)}" for part, rows in parts.items())


def replace_text(path: Path, text: str) -> None:
    """Write a file that is either the old or the new one."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def _table(rows: dict[str, Figures]) -> str:
    hidden = {"case", "status", "time"}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = [
        name
        for name in columns
        if name not in hidden and not any(isinstance(r.get(name), list) for r in rows.values())
    ]
    lines = ["| case | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for case, row in rows.items():
        cells = " | ".join(_cell(row.get(name, "")) for name in columns)
        lines.append(f"| {case} | {cells} |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
