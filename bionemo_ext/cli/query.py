"""How a command asks a server about many records: one job that may be stopped and goes on."""

import signal
import sys
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType
from typing import TYPE_CHECKING, Any

import typer

from bionemo_ext import __version__
from bionemo_ext.cli.progress import progress
from bionemo_ext.cli.source import Source
from bionemo_ext.cli.tally import Tally
from bionemo_ext.errors import InputError, NotFoundError, RunError

if TYPE_CHECKING:
    from bionemo_ext.cli.drawing import Picture
    from bionemo_ext.cli.options import JobOptions
    from bionemo_ext.client import Client, Result
    from bionemo_ext.client.jobs import BulkJob
    from bionemo_ext.client.streaming.inputs import Inputs
    from bionemo_ext.sequences import Record, SequencePolicy


@dataclass(frozen=True)
class Output:
    """A file, or folder, that a job writes once every record is answered.

    Parameters
    ----------
    path : Path
        Where.
    write : callable
        Takes a path to write, and the results.
    passes : int
        How often it goes through the results.
    """

    path: Path
    write: "Callable[[Path, Collection[Result]], None]"
    passes: int = 1


@dataclass(frozen=True)
class Question:
    """What is asked about every record.

    Parameters
    ----------
    doing : str
        What the progress bar says.
    endpoint : str
        Whom to ask.
    outputs : tuple of str
        What for.
    about : mapping of str to str
        What the answers depend on besides endpoint, outputs and policy.
    inputs : mapping
        Inputs beside the sequence: a value for all, or what gives that of the record at a position.
    unit : str
        What progress is counted in.
    """

    doing: str
    endpoint: str
    outputs: tuple[str, ...]
    about: Mapping[str, str] = field(default_factory=dict)
    inputs: "Inputs" = field(default_factory=dict)
    unit: str = "residues"

    def inputs_from(self, first: int) -> "Inputs":
        """Inputs of the records from position ``first`` on, where counting begins at 0 again."""

        def later(value: Callable[[int], Any]) -> Callable[[int], Any]:
            return lambda position: value(first + position)

        return {
            name: later(value) if callable(value) else value for name, value in self.inputs.items()
        }

    def ask(
        self,
        client: "Client",
        records: "Iterable[Record]",
        first: int,
        policy: "SequencePolicy",
        advance: Callable[[int], None],
    ) -> "Generator[Result, None, None]":
        """Answer the records from position ``first`` on, in their order.

        Parameters
        ----------
        client : Client
            Whom to ask.
        records : iterable of Record
            What to ask about.
        first : int
            Records that were answered before.
        policy : SequencePolicy
            For letters and lengths.
        advance : callable
            Told of :attr:`unit` done.
        """
        return client.stream(
            records,
            self.outputs,
            self.endpoint,
            inputs=self.inputs_from(first),
            policy=policy,
            on_progress=advance,
        )


def run(
    client: "Client",
    question: Question,
    source: Source,
    out: Path,
    outputs: Sequence[Output],
    options: "JobOptions",
    picture: "Picture | None" = None,
) -> None:
    """Ask about every record as :func:`answer` does, whose parameters it takes, and report."""
    answer(client, question, source, out, outputs, options, picture).report(options.as_json)


@dataclass(frozen=True)
class Answered:
    """A job that is done.

    Parameters
    ----------
    tally : Tally
        What was counted.
    files : list of Path
        What was written.
    """

    tally: Tally
    files: list[Path]

    def report(self, as_json: bool) -> None:
        """Print the summary."""
        self.tally.report(self.files, as_json)


def answer(
    client: "Client",
    question: Question,
    source: Source,
    out: Path,
    outputs: Sequence[Output],
    options: "JobOptions",
    picture: "Picture | None" = None,
) -> Answered:
    """Ask about every record, keep what is answered, write the files when all is there.

    Parameters
    ----------
    client : Client
        Whom to ask.
    question : Question
        What to ask.
    source : Source
        The records.
    out : Path
        What the job is called by: its parts lie beside it.
    outputs : sequence of Output
        What to write, beside ``out``.
    options : JobOptions
        Those of the command line.
    picture : Picture, optional
        What to draw, once the files are there.

    Returns
    -------
    Answered

    Raises
    ------
    BionemoExtError
        Bad input, a server that fails, a full disk; the message says what is kept.
    """
    from bionemo_ext.client.jobs import BulkJob

    tally = Tally(source)
    residues = source.residues_to_send()
    if picture:
        picture.check(source.records)
    depends = about(client, question, source)
    with BulkJob(out, depends, restart=options.restart) as job, _kept(job, source):
        for result in job:
            tally.note(result)
        tally.begin()
        with progress(residues, question.doing, question.unit, done=tally.sent) as advance:
            results = question.ask(client, job.remaining(source), len(job), source.policy, advance)
            with closing(results):
                for result in results:
                    job.add(result)
                    tally.note(result)
        job.flush()
        tally.end()
        for output in outputs:
            total = output.passes * len(job)
            doing = progress(total, f"writing {output.path.name}", "records", stays=False)
            with job.place(output.path) as path, doing as advance:
                output.write(path, _Read(job, advance))
        files = [output.path for output in outputs]
        written = [*files, *_write_skipped(job, source), *(picture.draw(job) if picture else ())]
        job.finish()
    return Answered(tally, written)


class _Read:
    """Results that are counted as they are read."""

    def __init__(self, results: "Collection[Result]", advance: Callable[[int], None]) -> None:
        self._results, self._advance = results, advance

    def __len__(self) -> int:
        return len(self._results)

    def __contains__(self, result: object) -> bool:
        return result in self._results

    def __iter__(self) -> "Iterator[Result]":
        for result in self._results:
            yield result
            self._advance(1)


def endpoint(client: "Client", name: str) -> str:
    """Give ``name`` back if the server has such an endpoint.

    Raises
    ------
    NotFoundError
        If it has not; the message names those there are.
    """
    there = client.models()
    if name not in there:
        raise NotFoundError(
            f"the server has no endpoint {name!r}; its endpoints are: {', '.join(there) or 'none'}"
        )
    return name


def about(client: "Client", question: Question, source: Source) -> dict[str, str]:
    """What the answers depend on: as text, because it is shown where parts are of another job.

    Errors are those of ``client.models``.
    """
    models = client.models()
    host = models[models[question.endpoint].host]
    policy = source.policy
    return {
        "version": __version__,
        "endpoint": question.endpoint,
        "model": host.parameters.get("digest", ""),
        "dtype": host.parameters.get("dtype", ""),
        "outputs": ", ".join(question.outputs),
        "limit": str(source.limit),
        "long": policy.long.value,
        "unknown_to_x": str(policy.unknown_to_x),
        **question.about,
    }


@contextmanager
def _kept(job: "BulkJob", source: Source) -> Iterator[None]:
    """Say how to go on where the job ends early: by a signal, the server or the disk."""
    again = "the same command goes on from there"
    if source.fasta == "-":
        again = "the same command, given the same input, goes on from there"
    signals: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    # Whoever runs this in another thread of a program (Ray does) has signals to himself.
    mine = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    before = {number: signal.signal(number, stop) for number in mine}
    try:
        yield
    except KeyboardInterrupt:
        count = _count_kept(job)
        kept = f"{count:,} records are kept, {again}" if count else "nothing is kept"
        print(f"bionemo-ext: interrupted; {kept}", file=sys.stderr)
        raise typer.Exit(128 + signals[0]) from None
    except (RunError, InputError) as error:
        count = _count_kept(job)
        if not count or "--restart" in str(error):
            raise
        mended = ", once that is mended" if isinstance(error, InputError) else ""
        raise type(error)(f"{error}; {count:,} records are kept, {again}{mended}") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _count_kept(job: "BulkJob") -> int:
    """Put what was answered on the disk, if there is room; gives how many are there."""
    with suppress(RunError, InputError):
        job.flush()
    return job.on_disk


def _write_skipped(job: "BulkJob", source: Source) -> list[Path]:
    if not source.skip_bad:
        return []
    file = job.out.with_suffix(".skipped.tsv")
    with job.place(file) as path:
        rows = (f"{name}\t{' '.join(reason.split())}\n" for name, reason in source.skipped)
        path.write_text("name\treason\n" + "".join(rows))
    return [file]
