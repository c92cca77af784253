"""What a bulk job is, and one of its shards: the same code whoever runs it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo_ext import __version__
from bionemo_ext.cli import query
from bionemo_ext.cli.embedding import EmbeddingOptions
from bionemo_ext.cli.options import JobOptions, ServerOptions
from bionemo_ext.cli.progress import progress
from bionemo_ext.cli.source import Source

if TYPE_CHECKING:
    from bionemo_ext.client import Client, Result
    from bionemo_ext.client.jobs.shards import Shard, ShardFolder


@dataclass(frozen=True)
class BulkTask:
    """Everything that a worker needs to know, wherever it runs.

    Parameters
    ----------
    fasta, out : Path
        Input, and the Parquet file that is made of it.
    shards : int
        Into how many ranges the input is cut.
    server, job, embedding
        As for ``bionemo-ext embed``.
    """

    fasta: Path
    out: Path
    shards: int
    server: ServerOptions
    job: JobOptions
    embedding: EmbeddingOptions

    @property
    def folder(self) -> "ShardFolder":
        """Where the shards lie."""
        from bionemo_ext.client.jobs.shards import ShardFolder

        return ShardFolder(self.out, self.shards)

    def about(self) -> dict[str, str]:
        """What is known of the job before a server is asked: all shards have it in common."""
        policy = self.job.policy(self.embedding.long)
        return {
            "version": __version__,
            "outputs": ", ".join(self.embedding.outputs),
            "layer": str(self.embedding.layer),
            "long": policy.long.value,
            "unknown_to_x": str(policy.unknown_to_x),
            "shards": str(self.shards),
        }

    def count_records(self) -> int:
        """Read the FASTA once, so that a bad record is found before work is done.

        Raises
        ------
        FastaError, SequenceError
            As :func:`bionemo_ext.sequences.read_fasta`.
        """
        from bionemo_ext.sequences import read_fasta

        skip = (lambda name, error: None) if self.job.skip_bad else None
        policy = self.job.policy(self.embedding.long)
        count = 0
        with progress(None, f"reading {self.fasta.name}", "records", stays=False) as advance:
            for _ in read_fasta(self.fasta, policy, on_bad=skip):
                count += 1
                advance(1)
        return count

    def compute(self, client: "Client", index: int) -> "query.Answered | None":
        """Compute a shard, or what is missing of it; its file is there whole then.

        Parameters
        ----------
        client : Client
            Whom to ask.
        index : int
            Which, from 0.

        Returns
        -------
        Answered, optional
            What was done; None where the shard was there.

        Raises
        ------
        InputError
            If shards that are there are of another job, or a record cannot be used.
        RunError
            If the server fails, or there is no room on the disk.
        """
        from bionemo_ext.client.jobs.shards import Shard
        from bionemo_ext.sequences.shards import fasta_range, range_digests

        folder, policy = self.folder, self.job.policy(self.embedding.long)
        part = fasta_range(self.fasta, index, self.shards)
        (digest,) = range_digests([part])
        source = Source(str(self.fasta), policy, client.limit(), self.job.skip_bad, part=part)
        question = self.embedding.question(client)
        job = self.about() | query.about(client, question, source)
        shard = Shard(index, part.start, part.end, part.size, digest, 0, 0, job)
        folder.claim(shard)
        if self.job.restart:
            folder.remove(index)
        elif folder.is_whole(index):
            folder.check_shard(shard)
            return None
        question = replace(question, about={**question.about, "shard": shard.in_words()})
        output = query.Output(folder.shard(index), self._writer(client, source, shard))
        return query.answer(client, question, source, output.path, [output], self.job)

    def _writer(
        self, client: "Client", source: Source, shard: "Shard"
    ) -> "Callable[[Path, Collection[Result]], None]":
        pooling = self.embedding.pooling
        (hidden,) = client.models()[client.host].output(pooling).dims

        def write(path: Path, results: "Collection[Result]") -> None:
            from bionemo_ext.client.files.embedding_parquet import write_embedding_shard

            whole = replace(shard, records=len(results), skipped=len(source.skipped))
            residues = self.embedding.residues
            write_embedding_shard(path, results, pooling, hidden, residues, whole.metadata())

        return write
