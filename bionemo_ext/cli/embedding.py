"""What is asked for where sequences are embedded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bionemo_ext.cli.options import LongOption
from bionemo_ext.cli.query import Question

if TYPE_CHECKING:
    from bionemo_ext.client import Client


@dataclass(frozen=True)
class EmbeddingOptions:
    """Which vectors, and of how much of a protein."""

    pooling: Annotated[
        Literal["mean", "cls", "max"], typer.Option(help="How residues become one vector.")
    ] = "mean"
    residues: Annotated[
        bool, typer.Option("--residues", help="Write one vector a residue too.")
    ] = False
    layer: Annotated[
        int, typer.Option(help="Layer to take it from: 1 is the first's output, -1 the last's.")
    ] = -1
    long: LongOption = "truncate"

    @property
    def outputs(self) -> tuple[str, ...]:
        """The endpoint's outputs to ask for."""
        from bionemo_ext.contract import RESIDUES

        return (self.pooling, RESIDUES) if self.residues else (self.pooling,)

    def question(self, client: "Client") -> Question:
        """Make what is asked of every record."""
        from bionemo_ext.contract import LAYER

        return Question(
            "embedding",
            client.host,
            self.outputs,
            {"layer": str(self.layer)},
            inputs={} if self.layer == -1 else {LAYER: self.layer},
        )
