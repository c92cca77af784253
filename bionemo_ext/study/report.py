"""What a study found, as tables: compressions, models, and what they cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bionemo_ext.errors import DataError
from bionemo_ext.study.cost import Cost
from bionemo_ext.study.figures import draw
from bionemo_ext.study.statistics import MixedModel, fit_mixed, means
from bionemo_ext.whole import whole

if TYPE_CHECKING:
    import pandas as pd

LEAK = (
    "protocol=published: features were scaled by all rows, the test part's included, as the "
    "published scripts do. Scores are a little too good."
)


@dataclass(frozen=True)
class Findings:
    """Tables of one regressor on all rows.

    Parameters
    ----------
    methods, models : DataFrame
        :func:`bionemo_ext.study.statistics.means` of each.
    mixed : dict of str to MixedModel
        By factor, ``method`` and ``model``; without those that have one level only.
    costs : dict of str to Cost
        By model.
    protocol : str
        Of the folds.
    """

    methods: "pd.DataFrame"
    models: "pd.DataFrame"
    mixed: dict[str, MixedModel]
    costs: Mapping[str, Cost]
    protocol: str


def find(
    results: "pd.DataFrame",
    costs: Mapping[str, Cost],
    regressor: str = "lasso",
    references: Mapping[str, str] | None = None,
) -> Findings:
    """Analyse the folds of a regressor that learned from all rows.

    Parameters
    ----------
    results : DataFrame
        As :func:`bionemo_ext.study.run.run_study` gives.
    costs : mapping of str to Cost
        By model; may be empty.
    regressor : str
        Whose folds.
    references : mapping of str to str, optional
        Reference level of ``method`` and of ``model``; the best where not given.

    Raises
    ------
    DataError
        If a reference is not there.
    """
    chosen = results[(results["regressor"] == regressor) & (results["sample"] == 0)]
    mixed = {}
    for factor in ("method", "model"):
        reference = (references or {}).get(factor)
        levels = list(map(str, chosen[factor].unique()))
        if reference is not None and reference not in levels:
            raise DataError(f"there is no {factor} {reference!r}; there are {', '.join(levels)}")
        if len(levels) > 1 and chosen["dataset"].nunique() > 1:
            # A model is compared by its best compression, as a user would take it.
            rows = _by_model(chosen) if factor == "method" else _best_method(chosen)
            mixed[factor] = fit_mixed(rows, reference, factor)
    return Findings(
        means(chosen),
        means(_best_method(chosen), "model"),
        mixed,
        costs,
        str(chosen["protocol"].iloc[0]),
    )


def write(folder: Path, results: "pd.DataFrame", findings: Findings, regressor: str) -> list[Path]:
    """Write tables as CSV, what they say as Markdown, figures as PNG and SVG.

    Returns
    -------
    list of Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    tables = {"methods": findings.methods, "models": _with_cost(findings)}
    for factor, model in findings.mixed.items():
        tables[f"{factor}_effects"] = model.effects
        tables[f"{factor}_contrasts"] = model.contrasts.set_index(["a", "b"])
    files = []
    for name, table in tables.items():
        files.append(folder / f"{name}.csv")
        with whole(files[-1]) as partial:
            table.to_csv(partial, float_format="%.6g")
    chosen = results[results["regressor"] == regressor]
    pictures = draw(folder, chosen, findings.costs, ("png", "svg"))
    files += [*pictures, folder / "report.md"]
    with whole(files[-1]) as partial:
        partial.write_text(_text(findings, [p.name for p in pictures if p.suffix == ".png"]))
    return files


def as_dict(findings: Findings) -> dict[str, Any]:
    """Everything but the contrasts, for programs; None where a number is not defined."""
    return {
        "protocol": findings.protocol,
        "methods": _records(findings.methods),
        "models": _records(_with_cost(findings)),
        "mixed": {
            factor: {
                "reference": model.reference,
                "variances": model.variances,
                "effects": _records(model.effects),
            }
            for factor, model in findings.mixed.items()
        },
    }


def _records(table: "pd.DataFrame") -> list[dict[str, Any]]:
    plain = table.reset_index().astype(object)
    rows: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return rows


def _best_method(results: "pd.DataFrame") -> "pd.DataFrame":
    return results[results["method"] == means(results).index[0]]


def _by_model(results: "pd.DataFrame") -> "pd.DataFrame":
    """Give each model's folds a data set of their own, as the study fits each model alone."""
    if results["model"].nunique() == 1:
        return results
    return results.assign(dataset=results["model"] + " " + results["dataset"])


def _with_cost(findings: Findings) -> "pd.DataFrame":
    """Quality of each model beside its cost."""
    import pandas as pd

    costs = pd.DataFrame({name: asdict(cost) for name, cost in findings.costs.items()}).T
    return findings.models.join(costs) if len(costs) else findings.models


def _text(findings: Findings, pictures: list[str]) -> str:
    lines = ["# Transfer study", ""]
    if findings.protocol == "published":
        lines += [LEAK, ""]
    lines += ["## Compressions", "", _markdown(findings.methods), ""]
    lines += ["## Models", "", _markdown(_with_cost(findings)), ""]
    for factor, model in findings.mixed.items():
        lines += [f"## R2 ~ {factor} + (1|Dataset) + (1|Fold), reference {model.reference}", ""]
        lines += [_markdown(model.effects), ""]
    lines += [f"![{name}]({name})" for name in pictures]
    return "\n".join(lines).rstrip() + "\n"


def _markdown(table: "pd.DataFrame") -> str:
    rows = [[str(table.index.name), *map(str, table.columns)]]
    rows += [[str(name), *map(_number, values)] for name, values in zip(
        table.index, table.to_numpy(), strict=True)]  # fmt: skip
    rule = ["---", *["---:"] * len(table.columns)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])


def _number(value: float) -> str:
    if value != value:
        return ""
    if abs(value) >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 0.001 else f"{value:.3f}"
