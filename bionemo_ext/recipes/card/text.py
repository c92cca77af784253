"""A model card's text, made of facts; what they do not hold is said to be not known."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bionemo_ext.recipes.card.curve import CURVE_FILE, sparkline
from bionemo_ext.recipes.card.loading import loading
from bionemo_ext.recipes.card.markdown import NOT_KNOWN, table
from bionemo_ext.recipes.card.training import recipe_lines

_FAMILIES = {"esm2": "ESM-2", "esm1nv": "ESM-1nv"}
_CONTACTS = {
    True: "Contact probabilities of residue pairs.",
    False: "No contacts: there is no contact head, or it was not fitted.",
    None: f"Whether contacts are predicted is {NOT_KNOWN}.",
}
_TABLE_ROWS = 30

Facts = Mapping[str, Any]


def card_text(facts: Facts) -> str:
    """Markdown with the front matter that the Hugging Face Hub reads."""
    model = facts["model"]
    family = _FAMILIES[model["family"]]
    title = facts.get("source", {}).get("name") or family
    sections = {
        "Architecture": _architecture(model, family),
        "Data": _data(facts),
        "Recipe": recipe_lines(facts),
        "Validation": _validation(facts),
        "Tasks": _tasks(facts),
        "Limits": _limits(facts, family),
        "Known risks": _risks(facts),
        "Licence": [facts["licence"]["text"]],
        "How to load it": loading(model),
    }
    body = "\n".join(
        f"\n## {name}\n\n" + "\n".join(lines) for name, lines in sections.items() if lines
    )
    return f"{_front_matter(facts)}\n# {title}\n\n{_summary(facts, family)}\n{body}\n"


def _front_matter(facts: Facts) -> str:
    tags = ["biology", "protein", "protein-language-model", facts["model"]["family"], "bionemo-ext"]
    lines = ["---", f"license: {facts['licence']['id']}", "library_name: transformers"]
    lines += ["pipeline_tag: fill-mask", "tags:", *(f"- {tag}" for tag in tags), "---"]
    return "\n".join(lines) + "\n"


def _summary(facts: Facts, family: str) -> str:
    model, source = facts["model"], facts.get("source", {})
    count = f"{model['parameters']:,} parameters"
    text = f"A protein language model of the {family} family with {count}."
    if source.get("kind") == "run":
        after = f" after step {facts['step']:,}" if facts.get("step") is not None else ""
        return f"{text} Weights of a pretraining run{after}."
    if source.get("name"):
        return f"{text} The weights come from `{source['name']}`."
    return f"{text} Where the weights come from is {NOT_KNOWN}."


def _architecture(model: Facts, family: str) -> list[str]:
    positions = "rotary" if model["family"] == "esm2" else "learned, absolute"
    activation = "GELU (erf)" if model["family"] == "esm2" else "GELU (tanh; erf in the LM head)"
    rows = [
        ("family", f"{family}, BERT with LayerNorm before each part"),
        ("parameters", f"{model['parameters']:,}"),
        ("layers", model["layers"]),
        ("width", model["hidden"]),
        ("attention heads", model["heads"]),
        ("feed-forward width", model["ffn"]),
        ("positions", f"{positions}, {model['max_positions']:,} tokens"),
        ("activation", activation),
        ("dropout in training", model["dropout"]),
        ("number format of the weights", model.get("dtype")),
    ]
    return table(("", ""), rows)


def _data(facts: Facts) -> list[str]:
    data = facts.get("data") or {}
    store = data.get("store") or {}
    if not data:
        return [f"What the model was trained on is {NOT_KNOWN}."]
    rows = [
        ("training data", data.get("train")),
        ("release", store.get("release")),
        ("kind", store.get("kind")),
        ("residues of a training example, at most", data.get("max_residues")),
        ("longer sequences are cropped", {"start": "from their start", "random": "at random"}.get(
            data.get("crop"))),
        ("validation", _validation_data(data, store)),
    ]  # fmt: skip
    for name, counts in (data.get("counts") or {}).items():
        text = ", ".join(f"{value:,} {what}" for what, value in counts.items())
        rows.append((f"{name} set", text))
    if not data.get("counts"):
        rows.append(("counts", None))
    for source in store.get("sources") or []:
        facts_of = ", ".join(f"{key} {value}" for key, value in source.items() if key != "role")
        rows.append((f"source: {source.get('role', NOT_KNOWN)}", facts_of))
    return table(("", ""), rows)


def _validation_data(data: Facts, store: Facts) -> str | None:
    if data.get("validation"):
        return data["validation"]
    if store:
        search = (store.get("neighbours") or {}).get("search")
        return "a set of the store, split by clusters" + (
            f"; neighbours removed by: {search}" if search else ""
        )
    share = data.get("validation_fraction")
    return None if share is None else f"{share:.1%} of the sequences, set aside at random"


def _validation(facts: Facts) -> list[str]:
    curve = facts.get("validation") or []
    if not curve:
        return [f"The validation loss is {NOT_KNOWN}."]
    best = min(curve, key=lambda point: point["val_loss"])
    lines = [
        f"Loss of masked tokens over the whole validation set (15% of tokens chosen). Lowest: "
        f"{best['val_loss']:.4f}, perplexity {best['val_perplexity']:.2f}, at step "
        f"{best['step']:,}.",
        "",
    ]
    if facts.get("plot"):
        lines += [f"![validation perplexity over steps]({CURVE_FILE})", ""]
    elif len(curve) > 1:
        bars = sparkline([point["val_perplexity"] for point in curve])
        lines += [f"Perplexity from first to last validation: `{bars}`", ""]
    rows = [
        (
            f"{point['step']:,}",
            f"{point['tokens']:,}" if point.get("tokens") else None,
            f"{point['val_loss']:.4f}",
            f"{point['val_perplexity']:.3f}",
        )
        for point in _thinned(curve, best)
    ]
    if len(rows) < len(curve):
        lines += [f"{len(rows)} of {len(curve)} validations; `card.json` holds all.", ""]
    return lines + table(("step", "tokens seen", "validation loss", "perplexity"), rows)


def _thinned(curve: Sequence[Any], best: Any) -> Iterator[Any]:
    """At most about 30 points: first, last, best and some between."""
    every = -(-len(curve) // _TABLE_ROWS)
    last = len(curve) - 1
    return (p for i, p in enumerate(curve) if i % every == 0 or i == last or p is best)


def _tasks(facts: Facts) -> list[str]:
    tasks = facts.get("tasks") or []
    if not tasks:
        return [f"Results on tasks are {NOT_KNOWN}: no task trained on these weights lay beside."]
    head = ("task", "level", "metric", "test", "95% interval", "baselines", "test examples")
    how = sorted({task["interval"]["how"] for task in tasks if task.get("interval")})
    lines = ["A small head on the frozen encoder, measured on the task's test set.", ""]
    lines += table(head, [_task_row(task) for task in tasks])
    return lines + (["", f"Intervals: {'; '.join(how)}."] if how else [])


def _task_row(task: Facts) -> list[str | None]:
    interval, count = task.get("interval"), (task.get("counts") or {}).get("test")
    baselines = (task.get("baselines") or {}).items()
    return [
        task.get("task"),
        task.get("level"),
        task.get("metric"),
        f"{task['value']:.3f}" if task.get("value") is not None else None,
        f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else "not measured",
        ", ".join(f"{name.replace('_', '-')} {value:.3f}" for name, value in baselines),
        f"{count:,}" if count else None,
    ]


def _limits(facts: Facts, family: str) -> list[str]:
    model = facts["model"]
    longest, trained = model["max_residues"], (facts.get("data") or {}).get("max_residues")
    lines = [
        f"- Input: one chain of 1 to {longest:,} residues in one-letter code. Letters: "
        f"`{model['letters']}`.",
        "- Refused by `bionemo-ext`: an empty sequence, another letter (or it becomes X when "
        "asked), and what looks like nucleotides. Lower case is taken as upper case.",
        f"- Output: an embedding of {model['hidden']:,} numbers for each residue, and logits over "
        f"{family}'s tokens. {_CONTACTS[model.get('contacts')]}",
        "- Complexes, ligands, modified residues and structure are not input.",
    ]
    if trained and trained < longest:
        lines.insert(1, f"- It was trained on at most {trained:,} residues of a sequence.")
    return lines


def _risks(facts: Facts) -> list[str]:
    lines = [
        "- The model knows how residues go together in the sequences that it was shown. Families "
        "and organisms that are rare there are modelled worse.",
        "- A high likelihood or a predicted effect is no measurement: what matters must be tested "
        "in the laboratory. The model is not for diagnosis or treatment.",
        "- Generated or scored sequences may be harmful; screen what you order or express.",
    ]
    data = facts.get("data") or {}
    at_random = data and not data.get("validation") and not data.get("store")
    if at_random:
        lines.append(
            "- The validation proteins were set aside at random, so similar ones may stand in the "
            "training set: the validation figures are optimistic."
        )
    if facts["model"]["family"] == "esm1nv":
        lines.append(
            "- Tools that take the LM head's activation from `hidden_act` compute slightly other "
            "logits than this model's; the encoder is not affected."
        )
    return lines
