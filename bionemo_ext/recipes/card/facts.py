"""What is known of a model, collected from its folder, its run and the tasks beside it.

*Facts* are plain values in ``card.json``: ``model``, ``source``, ``step``, ``data``, ``recipe``,
``training``, ``validation`` and ``hardware``, ``tasks`` and ``licence``. What is not known is left
out, and the card says so. No path of the machine stands there, only names.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from safetensors import SafetensorError, safe_open

from bionemo_ext.errors import CheckpointError
from bionemo_ext.huggingface import ESM2Config, parameter_count, read_config
from bionemo_ext.recipes.card.licence import licence_facts
from bionemo_ext.recipes.card.record import read_record
from bionemo_ext.recipes.runs import RUN_FILE, newest_step, read_metrics

Facts = dict[str, Any]

_STORE = "store.json"
_RECIPE = ("steps", "global_batch", "micro_batch", "seed", "packing", "recompute", "init")


def model_facts(folder: Path) -> Facts:
    """Architecture, size and limits of a Hugging Face folder.

    Raises
    ------
    CheckpointError
        If it is no such folder.
    """
    config = read_config(folder)
    raw = json.loads((folder / "config.json").read_text())
    return {
        **asdict(config),
        "family": config.family,
        "dropout": config.dropout,
        "parameters": parameter_count(config),
        "max_residues": config.max_residues,
        "letters": config.alphabet.residues,
        "dtype": raw.get("torch_dtype") or raw.get("dtype"),
        "contacts": _predicts_contacts(folder) if isinstance(config, ESM2Config) else False,
    }


def run_facts(run: Path, step: int | None = None) -> Facts:
    """What a pretraining run's folder tells.

    Parameters
    ----------
    run : Path
        The run's folder.
    step : int, optional
        Of the weights in question; the newest checkpoint's when not given.

    Raises
    ------
    CheckpointError
        If it is no run's folder.
    """
    settings = _settings(run)
    step = newest_step(run) if step is None else step
    record = read_record(run)
    rows = read_metrics(run)
    facts: Facts = {
        "source": {"kind": "run", "name": _part(settings, "model").get("name") or run.name},
        "step": step,
        "data": _data_facts(_part(settings, "data"), record, run),
        "recipe": _recipe_facts(settings),
        "training": _training_facts(rows, step),
        "validation": _validation_facts(rows),
        "licence": licence_facts(None),
    }
    if record:
        facts["hardware"] = {k: record[k] for k in ("device", "devices", "versions") if k in record}
    return facts


def _predicts_contacts(folder: Path) -> bool | None:
    path = folder / "model.safetensors"
    try:
        with safe_open(path, "pt") as file:
            return bool(file.get_tensor("esm.contact_head.regression.weight").any())
    except (SafetensorError, OSError):  # in shards, or in PyTorch's format
        return None


def _settings(run: Path) -> Facts:
    import yaml  # comes with the training extra, and only a run needs it

    try:
        found = yaml.safe_load((run / RUN_FILE).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CheckpointError(f"{run / RUN_FILE} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise CheckpointError(f"{run / RUN_FILE} holds no configuration")
    return found


def _part(settings: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = settings.get(key)
    return found if isinstance(found, dict) else {}


def _data_facts(data: Mapping[str, Any], record: Mapping[str, Any], run: Path) -> Facts:
    facts: Facts = {key: data.get(key) for key in ("max_residues", "crop", "validation_fraction")}
    for key in ("train", "validation"):
        facts[key] = Path(data[key]).name if data.get(key) else None
    described = _description(data.get("train"), run)
    facts["store"] = described
    counts = record.get("data") or described.get("sets") or {}
    return {**facts, "counts": counts}


def _description(train: str | None, run: Path) -> Facts:
    """What a store's folder says of itself, without its long lists and paths."""
    if not train:
        return {}
    for folder in (Path(train), run / train):
        try:
            found = json.loads((folder / _STORE).read_text())
        except (OSError, ValueError):
            continue
        if isinstance(found, dict):
            kept = ("kind", "release", "seed", "sets", "neighbours", "counts")
            return {
                **{key: found[key] for key in kept if found.get(key) is not None},
                "sources": [_cited(source) for source in found.get("sources") or []],
            }
    return {}


def _cited(source: Mapping[str, Any]) -> Facts:
    """A source by role, file name and checksum."""
    facts = {key: value for key, value in source.items() if isinstance(value, str | int)}
    return {k: Path(v).name if k in ("path", "file", "name") else v for k, v in facts.items()}


def _recipe_facts(settings: Mapping[str, Any]) -> Facts:
    facts: Facts = {key: settings[key] for key in _RECIPE if settings.get(key) is not None}
    if "init" in facts:
        published = str(facts["init"]).startswith("facebook/")
        facts["init"] = facts["init"] if published else Path(facts["init"]).name
    for key in ("optimizer", "precision", "parallel"):
        if values := _part(settings, key):
            facts[key] = values
    return facts


def _training_facts(rows: Iterable[Mapping[str, float]], step: int) -> Facts:
    rows = [row for row in rows if "loss" in row and row["step"] <= step]
    if not rows:
        return {}
    facts: Facts = {
        "steps": rows[-1]["step"],
        "tokens": rows[-1].get("tokens"),
        "seconds": rows[-1].get("seconds"),
        "loss": rows[-1]["loss"],
    }
    for name in ("tokens_per_s", "mfu"):
        if values := [row[name] for row in rows if name in row]:
            facts[name] = median(values)
    return facts


def _validation_facts(rows: Iterable[Mapping[str, float]]) -> list[dict[str, float]]:
    curve, tokens = [], None
    for row in rows:
        tokens = row.get("tokens", tokens)
        if "val_loss" in row:
            point = {key: row[key] for key in ("step", "val_loss", "val_perplexity") if key in row}
            curve.append({**point, **({"tokens": tokens} if tokens is not None else {})})
    return curve
