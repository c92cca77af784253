"""Options that commands share, as data classes: each of their fields is an option."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

if TYPE_CHECKING:
    from bionemo_ext.client import Client
    from bionemo_ext.sequences import SequencePolicy

Long = Literal["truncate", "refuse", "windows"]
LongOption = Annotated[Long, typer.Option(help="Sequences beyond the model's limit.")]
FastaArgument = Annotated[
    str, typer.Argument(help="Protein FASTA, also compressed; - is standard input.")
]
MethodOption = Annotated[
    Literal["wildtype", "masked"],
    typer.Option(help="One pass over the sequence, or a pass for each place with a mask there."),
]
PictureOption = Annotated[
    Path | None,
    typer.Option(help="Draw it too: x.png or x.svg; of several proteins a folder."),
]


@dataclass(frozen=True)
class ServerOptions:
    """Where the server is, how to reach it, and which of its models to ask; or a model to load."""

    url: Annotated[
        str | None,
        typer.Option(
            envvar="BIONEMO_EXT_URL",
            help="Server: grpc://HOST:PORT, grpcs://, http:// or https://; several with commas.",
        ),
    ] = None
    offline: Annotated[
        Path | None,
        typer.Option(
            help="Model folder to compute with in this process, with no server: Hugging Face's, or "
            "a pretraining run's."
        ),
    ] = None
    device: Annotated[str, typer.Option(help="Where --offline computes: cpu, cuda or cuda:1.")] = (
        "cpu"
    )
    model: Annotated[
        str,
        typer.Option(help="Which of the server's models; what its endpoints' names begin with."),
    ] = "esm2"
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds for one request, all its retries included.")
    ] = 600.0
    tls_ca: Annotated[
        Path | None, typer.Option(help="Certificates to trust, PEM; the system's if not given.")
    ] = None
    tls_cert: Annotated[Path | None, typer.Option(help="This client's certificate, PEM.")] = None
    tls_key: Annotated[Path | None, typer.Option(help="Its key, PEM.")] = None
    token_file: Annotated[
        Path | None,
        typer.Option(help="File with the token to send; else the variable BIONEMO_EXT_TOKEN."),
    ] = None

    def connect(self) -> "Client":
        """Make the client.

        Raises
        ------
        InputError
            If there is neither a server nor a model; else errors are those of what is made.
        """
        from bionemo_ext.client import Client
        from bionemo_ext.client.options import access_words
        from bionemo_ext.errors import InputError

        if self.offline is not None:
            return self._load(self.offline)
        if self.url is None:
            raise InputError(
                "a server (--url grpc://HOST:PORT) or a model folder (--offline DIR) is needed"
            )
        access = access_words(
            tls_ca=self.tls_ca,
            tls_cert=self.tls_cert,
            tls_key=self.tls_key,
            token_file=self.token_file,
        )
        return Client(self.url, timeout_s=self.timeout, model=self.model, **access)

    def _load(self, folder: Path) -> "Client":
        from bionemo_ext.cli.extras import needs
        from bionemo_ext.client import Client
        from bionemo_ext.recipes.quiet import quieten

        quieten()
        with needs("serve"):
            from bionemo_ext.serving.local_connection import LocalConnection

        connection = LocalConnection(folder, model=self.model, device=self.device)
        return Client(str(folder), model=self.model, connection=connection)


@dataclass(frozen=True)
class JobOptions:
    """How a job of many records runs."""

    unknown_to_x: Annotated[
        bool, typer.Option("--unknown-to-x", help="Read letters outside the alphabet as X.")
    ] = False
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad",
            help="Leave out records that cannot be used; OUT.skipped.tsv says which, and why.",
        ),
    ] = False
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Begin anew, and throw away what a stopped run has kept."),
    ] = False
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON summary.")] = False

    def policy(self, long: Long) -> "SequencePolicy":
        """Make the policy that the options ask for."""
        from bionemo_ext.sequences import LengthPolicy, SequencePolicy

        return SequencePolicy(unknown_to_x=self.unknown_to_x, long=LengthPolicy(long))


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of those parameters that are data classes.

    Typer itself knows parameters of plain types only.
    """
    hints = get_type_hints(command, include_extras=True)
    groups = {name: kind for name, kind in hints.items() if is_dataclass(kind)}

    @wraps(command)
    def flat(**values: Any) -> None:
        made = {
            name: kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        command(**values, **made)

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name in groups:
            parameters += _options(groups[parameter.name])
        else:
            kind = hints[parameter.name]
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=kind))
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {one.name: one.annotation for one in parameters}
    return flat


def _options(kind: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(kind, include_extras=True)

    def default(field: Field[Any]) -> Any:
        return inspect.Parameter.empty if field.default is MISSING else field.default

    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default(field),
            annotation=hints[field.name],
        )
        for field in fields(kind)
    ]
