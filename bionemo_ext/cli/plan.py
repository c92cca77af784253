"""``bionemo-ext plan``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    from rich.table import Table

    from bionemo_ext.recipes.plan import Plan


def plan(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="As of pretrain, for example model=esm2_3b."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="GPUs, instead of parallel.devices x parallel.nodes.")
    ] = None,
    days_for: Annotated[
        str, typer.Option(help="Name of the GPU: h100, h200, a100, v100.")
    ] = "h100",
    mfu: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the GPU's dense 16-bit peak to expect.")
    ] = 0.43,
    mean_tokens: Annotated[
        float | None, typer.Option(min=3, help="Mean length of a sequence in tokens.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what a pretraining run needs, without a GPU: memory by kind, arithmetic, days.

    Keys are those of pretrain; out= and data.train= need not be given, and recipe= is the one
    called as the model unless it is.
    """
    from bionemo_ext.recipes.quiet import quieten

    quieten()
    with needs("train"):
        from bionemo_ext.recipes.plan import composed
        from bionemo_ext.recipes.plan import plan as work_out

    settings = composed(overrides or [], gpus)
    found = work_out(settings, gpu=days_for, mfu=mfu, mean_tokens=mean_tokens)
    if as_json:
        typer.echo(json.dumps(found.as_json(), indent=2))
        return
    from rich.console import Console

    console = Console()
    console.print(_run(found))
    console.print(_memory(found))
    console.print(_verdict(found))


def _table(title: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    return table


def _run(found: Plan) -> Table:
    table = _table(f"{found.model} on {found.gpus} {found.gpu}")
    add = table.add_row
    add("parameters", f"{found.parameters:,}")
    add("  trained on a GPU", f"{found.parameters_per_gpu:,}", "the vocabulary padded to 128")
    add("data parallel", f"{found.data_parallel:,}", f"{found.accumulation} micro-batches a step")
    add("sequences a step", f"{found.sequences_per_step:,}", f"{found.mean_tokens:.0f} tokens each")
    largest = f"at most {found.largest_tokens_per_step:,}"
    add("tokens a step", f"{found.tokens_per_step:,.0f}", largest)
    add("FLOPs a step", f"{found.flops_per_step:.4g}", "forward and backward, no recomputation")
    expected = f"{found.steps:,} steps at an MFU of {found.mfu:.0%}"
    add("days", "not known in fp32" if found.days is None else f"{found.days:,.2f}", expected)
    return table


def _memory(found: Plan) -> Table:
    notes = {
        "activations": f"a micro-batch of {found.micro_batch_tokens:,} tokens at most",
        "logits": "head and loss",
        "working": "an allowance for the widest operator",
        "framework": "an allowance for CUDA, NCCL and fragments",
    }
    table = _table("\nmemory of a GPU, GB")
    for kind, size in vars(found.memory).items():
        table.add_row(f"  {kind}", f"{size / 1e9:,.2f}", notes.get(kind, ""))
    table.add_row("  all", f"{found.memory.total / 1e9:,.2f}", f"of {found.capacity / 1e9:,.0f}")
    return table


def _verdict(found: Plan) -> str:
    if found.fits:
        return "\nIt fits."
    if found.suggestion is None:
        return (
            "\nIt does not fit, and neither smaller micro-batches nor recomputation nor more model "
            "parallelism on these GPUs help."
        )
    return f"\nIt does not fit; it does with {' '.join(found.suggestion)}"
