"""``bionemo-ext data``: sets to pretrain on, made and looked at."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bionemo_ext.cli.extras import needs

if TYPE_CHECKING:
    from bionemo_ext.data.statistics import Figures

app = typer.Typer(help="Make and look at pretraining sets.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Which clusters are set aside.")]
ReleaseOption = Annotated[
    str | None, typer.Option(help="UniRef's release, for example 2021_04; kept in store.json.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Searched = Literal["auto", "members", "representatives", "none"]


@app.command()
def uniref(
    uniref50: Annotated[Path, typer.Option(help="UniRef50 FASTA, also compressed.")],
    uniref90: Annotated[Path, typer.Option(help="UniRef90 FASTA, also compressed.")],
    members: Annotated[
        Path,
        typer.Option(help="Members: UniProt's idmapping, UniRef50/UniRef90 table, MMseqs2's TSV."),
    ],
    out: OutOption,
    validation: Annotated[
        float, typer.Option(help="UniRef50 clusters set aside: a fraction below 1, or a number.")
    ] = 0.005,
    seed: SeedOption = 42,
    release: ReleaseOption = None,
    search: Annotated[
        Searched, typer.Option(help="What mmseqs compares with the validation set.")
    ] = "auto",
    identity: Annotated[
        float, typer.Option(min=0, max=1, help="Identity from which a neighbour is removed.")
    ] = 0.5,
    coverage: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of both sequences that must align; 0.8: ESM-2's."),
    ] = 0.0,
    threads: Annotated[int, typer.Option(min=0, help="Cores for mmseqs; 0: all.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Build the ESM-2 set: UniRef50 clusters, sampled through their UniRef90 members.

    A build that was ended goes on when the same command is given again.
    """
    _quietly()
    with needs("train"):
        from bionemo_ext.data.uniref.build import Search, UniRefOptions, build_uniref
        from bionemo_ext.data.uniref.neighbours import Similarity
        from bionemo_ext.data.uniref.split import Share
    from bionemo_ext.cli.bars import bar

    options = UniRefOptions(
        uniref50, uniref90, members, out, Share(validation), seed, release, Search(search),
        Similarity(identity, coverage, threads),
    )  # fmt: skip
    _report(out, build_uniref(options, bar), as_json)


@app.command()
def esm1nv(
    uniref50: Annotated[Path, typer.Option(help="UniRef50 FASTA, also compressed.")],
    out: OutOption,
    max_residues: Annotated[int, typer.Option(min=1, help="Longer sequences are left out.")] = 512,
    validation: Annotated[
        float | None, typer.Option(help="Set aside: a fraction below 1, or a number. [the card's]")
    ] = None,
    test: Annotated[float | None, typer.Option(help="The same for testing. [the card's]")] = None,
    seed: SeedOption = 42,
    release: ReleaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Build the ESM-1nv set: UniRef50 up to 512 residues in training, validation and test."""
    _quietly()
    with needs("train"):
        from bionemo_ext.data.uniref.esm1nv import (
            TEST_SHARE,
            VALIDATION_SHARE,
            ESM1nvOptions,
            build_esm1nv,
        )
        from bionemo_ext.data.uniref.split import Share
    from bionemo_ext.cli.bars import bar

    shares = Share(validation or VALIDATION_SHARE), Share(test or TEST_SHARE)
    options = ESM1nvOptions(uniref50, out, max_residues, *shares, seed, release)
    _report(out, build_esm1nv(options, bar), as_json)


@app.command()
def stats(
    path: Annotated[Path, typer.Argument(help="A store, a FASTA file or a folder of them.")],
    crop: Annotated[
        int, typer.Option(min=1, help="Residues of a sample, for the tokens of an epoch.")
    ] = 1022,
    plot: Annotated[
        Path | None, typer.Option(help="Draw lengths and frequencies to this PNG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell counts, lengths, residue frequencies and tokens of an epoch."""
    from dataclasses import asdict

    from bionemo_ext.cli.bars import bar
    from bionemo_ext.data.statistics import measure

    told = measure(path, crop, bar)
    if plot is not None:
        with needs("dev"):
            from bionemo_ext.cli.data_plot import draw
        draw(plot, told["sets"])
    if as_json:
        sets = {name: asdict(figures) for name, figures in told["sets"].items()}
        typer.echo(json.dumps({**told, "sets": sets}))
        return
    typer.echo(f"{told['path']}: {told['kind']}, {told['alphabet']}")
    for name, figures in told["sets"].items():
        typer.echo(_in_words(name, figures))


def _quietly() -> None:
    from bionemo_ext.recipes.quiet import quieten

    quieten()  # Megatron's own lines


def _in_words(name: str, figures: "Figures") -> str:
    lengths, members = figures.lengths, figures.members
    shares = sorted(figures.frequencies.items(), key=lambda item: -item[1])
    return "\n".join(
        [
            f"{name}: {figures.sequences:,} sequences, {figures.residues:,} residues",
            f"  clusters: {figures.clusters:,}; members min {members['min']:,}, "
            f"median {members['median']:,.1f}, mean {members['mean']:,.2f}, max {members['max']:,}",
            f"  length: min {lengths['min']:,.0f}, quartiles {lengths['q1']:,.0f} "
            f"{lengths['median']:,.0f} {lengths['q3']:,.0f}, max {lengths['max']:,.0f}, "
            f"mean {lengths['mean']:,.1f}",
            f"  an epoch at {figures.crop:,} residues: {figures.tokens_per_epoch:,} tokens",
            "  residues: " + "  ".join(f"{letter} {share:.2%}" for letter, share in shares),
        ]
    )


def _report(out: Path, described: dict[str, Any], as_json: bool) -> None:
    """Print what was built and, line by line, what became of every record."""
    if as_json:
        typer.echo(json.dumps(described))
        return
    for name, part in described["sets"].items():
        typer.echo(
            f"{name}: {part['clusters']:,} clusters, {part['sequences']:,} sequences, "
            f"{part['residues']:,} residues"
        )
    for kind, counts in described["counts"].items():
        told = [f"{k.replace('_', ' ')} {v:,}" for k, v in counts.items() if isinstance(v, int)]
        shape = f" ({counts['shape']})" if "shape" in counts else ""
        typer.echo(f"{kind}{shape}: {', '.join(told)}")
    searched = described.get("neighbours", {"search": None})["search"]
    if searched == "none":
        typer.echo(
            "neighbours: not searched; training and validation are apart by the given clusters "
            "only, and sequences of different clusters may still be over the identity limit"
        )
    typer.echo(f"store: {out}")
