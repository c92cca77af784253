"""The part of a model card that tells how and on what a model was trained."""

from collections.abc import Mapping
from typing import Any

from bionemo_ext.recipes.card.markdown import NOT_KNOWN, table

Facts = Mapping[str, Any]


def recipe_lines(facts: Facts) -> list[str]:
    """Optimizer, batch, precision, layout, hardware, time; as a table."""
    recipe = facts.get("recipe") or {}
    if not recipe:
        return [f"How the model was trained is {NOT_KNOWN}."]
    rows = [
        ("objective", "masked language modelling: 15% of tokens chosen, of these 80% `<mask>`, "
         "10% a random residue, 10% kept"),
        ("optimizer", _optimizer(recipe.get("optimizer") or {})),
        ("learning rate", _schedule(recipe.get("optimizer") or {})),
        ("batch", _batch(recipe)),
        ("started from", recipe.get("init") or "random weights"),
        ("precision", _precision(recipe.get("precision") or {})),
        ("layout", _layout(recipe.get("parallel") or {})),
        ("hardware", _hardware(facts.get("hardware") or {})),
        ("software", _software(facts.get("hardware") or {})),
        *_done(facts),
    ]  # fmt: skip
    return table(("", ""), rows)


def _optimizer(values: Facts) -> str | None:
    if not values:
        return None
    return (
        f"Adam, betas {values.get('betas')}, eps {values.get('eps')}, weight decay "
        f"{values.get('weight_decay')} (not of biases and norms), gradients clipped at "
        f"{values.get('clip')}"
    )


def _schedule(values: Facts) -> str | None:
    if not values:
        return None
    return (
        f"{values.get('warmup_steps')} steps of warm-up to {values.get('lr')}, "
        f"{values.get('schedule', 'linear')} to {values.get('min_lr')} at step "
        f"{values.get('decay_steps')}"
    )


def _batch(recipe: Facts) -> str | None:
    if "global_batch" not in recipe:
        return None
    packed = {True: ", packed without padding", False: ", padded"}.get(recipe.get("packing"), "")
    return f"{recipe['global_batch']:,} sequences a step{packed}; seed {recipe.get('seed')}"


def _precision(values: Facts) -> str | None:
    if not values:
        return None
    fp8 = values.get("fp8") or "off"
    return str(values.get("arithmetic")) + (f", FP8 {fp8}" if fp8 not in ("off", False) else "")


def _layout(values: Facts) -> str | None:
    if not values:
        return None
    devices, tensor = values.get("devices", 1) * values.get("nodes", 1), values.get("tensor", 1)
    pipeline = values.get("pipeline", 1)
    data = devices // (tensor * pipeline)
    sequence = ", sequence parallel" if values.get("sequence") else ""
    return (
        f"{devices} devices: tensor parallel {tensor}, pipeline parallel {pipeline}, data "
        f"parallel {data}{sequence}"
    )


def _hardware(values: Facts) -> str | None:
    if not values.get("device"):
        return None
    return f"{values.get('devices', 1)} x {values['device']}"


def _software(values: Facts) -> str | None:
    found = [f"{name} {version}" for name, version in (values.get("versions") or {}).items()]
    return ", ".join(found) or None


def _done(facts: Facts) -> list[tuple[str, str | None]]:
    training, planned = facts.get("training") or {}, (facts.get("recipe") or {}).get("steps")
    steps = f"{training['steps']:,}" if training.get("steps") is not None else None
    of = f" of {planned:,}" if planned else ""
    tokens, seconds = training.get("tokens"), training.get("seconds")
    rows: list[tuple[str, str | None]] = [
        ("steps", f"{steps}{of}" if steps else None),
        ("tokens seen", f"{tokens:,}" if tokens is not None else None),
        ("time", _time(seconds) if seconds is not None else None),
    ]
    if "tokens_per_s" in training:
        rows.append(("speed, median", f"{training['tokens_per_s']:,.0f} tokens/s"))
    if "mfu" in training:
        rows.append(("model FLOPs utilisation, median", f"{training['mfu']:.1%}"))
    if "loss" in training:
        rows.append(("last training loss", f"{training['loss']:.4f}"))
    return rows


def _time(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    clock = f"{hours:,} h {rest // 60} min {rest % 60} s" if hours else f"{rest // 60} min"
    return f"{seconds:,.1f} s" if seconds < 600 else f"{clock} ({seconds:,.0f} s)"
