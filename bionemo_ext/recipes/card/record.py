"""What a run ran on and what it was given, noted while that is known: ``record.json``."""

import json
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bionemo_ext.whole import whole

RECORD_FILE = "record.json"

_PACKAGES = ("bionemo-ext", "torch", "nemo_toolkit", "megatron-core", "transformer-engine")


def record_run(
    run: Path, devices: int, data: Mapping[str, Mapping[str, int]] | None = None
) -> None:
    """Note hardware, versions and the data's counts in a run's folder; for the first rank.

    Parameters
    ----------
    run : Path
        The run's folder.
    devices : int
        Of all nodes together.
    data : mapping, optional
        For ``train`` and ``validation`` counts by name, such as ``sequences`` and ``residues``.
    """
    record = {
        "device": _device(),
        "devices": devices,
        "versions": _versions(),
        "data": {name: dict(counts) for name, counts in (data or {}).items()},
    }
    with whole(run / RECORD_FILE) as new:
        new.write_text(json.dumps(record, indent=2) + "\n")


def read_record(run: Path) -> dict[str, Any]:
    """Read what :func:`record_run` noted; nothing where it was not called."""
    try:
        found = json.loads((run / RECORD_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU ({names[0] if names else platform.machine()})"


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
