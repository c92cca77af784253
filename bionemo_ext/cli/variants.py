"""Variants as a job of many records: which they are, and how logits answer for them."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from bionemo_ext.cli import query
from bionemo_ext.cli.source import Source
from bionemo_ext.contract import SCORE
from bionemo_ext.contract.effects import Method
from bionemo_ext.contract.variants import Variant, VariantError, parse_variant
from bionemo_ext.errors import DataError, InputError

if TYPE_CHECKING:
    from bionemo_ext.client import Client, Result
    from bionemo_ext.client.files.mutants import Mutants
    from bionemo_ext.sequences import Record, SequencePolicy
    from bionemo_ext.tasks.dms import Scan


@dataclass(frozen=True)
class ByLogits(query.Question):
    """A question that the server has no endpoint for: each record is a wild type and a variant.

    Parameters
    ----------
    method : Method
        How variants are scored.
    variant : callable
        Gives the variant of the record at a position.
    """

    method: Method = field(kw_only=True)
    variant: Callable[[int], Variant | str] = field(kw_only=True)

    def ask(
        self,
        client: "Client",
        records: "Iterable[Record]",
        first: int,
        policy: "SequencePolicy",
        advance: Callable[[int], None],
    ) -> "Generator[Result, None, None]":
        """Yield a score a record, FP64 [1]; the model's logits are asked for ahead."""
        from bionemo_ext.client import Result
        from bionemo_ext.client.masked_model import ServerLogits
        from bionemo_ext.tasks.questions import noted
        from bionemo_ext.tasks.variant_effects import stream_scores

        asked: deque[Record] = deque()
        pairs = (
            (record.sequence, self.variant(position))
            for position, record in enumerate(noted(records, asked), start=first)
        )
        for score in stream_scores(ServerLogits(client), pairs, self.method):
            record = asked.popleft()
            advance(1)
            values = {SCORE: np.array([score])}
            yield Result(record.name, record.sequence, len(record.sequence), 1, values)


@dataclass(frozen=True)
class ScanQuestion(query.Question):
    """Every substitution of each protein: those within the limit by the endpoint, others by logits.

    Parameters
    ----------
    limit : int
        Residues that the endpoint takes.
    """

    limit: int = field(kw_only=True)

    def ask(
        self,
        client: "Client",
        records: "Iterable[Record]",
        first: int,
        policy: "SequencePolicy",
        advance: Callable[[int], None],
    ) -> "Generator[Result, None, None]":
        """Yield a scan a record, FP32 [L, 20]."""
        for is_long, group in groupby(records, lambda record: len(record.sequence) > self.limit):
            if is_long:
                yield from self._by_logits(client, group, advance)
            else:
                yield from super().ask(client, group, first, policy, advance)

    def _by_logits(
        self, client: "Client", records: "Iterable[Record]", advance: Callable[[int], None]
    ) -> "Iterator[Result]":
        from bionemo_ext.client import Result
        from bionemo_ext.client.masked_model import ServerLogits
        from bionemo_ext.contract import METHOD, SCAN
        from bionemo_ext.sequences import windows
        from bionemo_ext.tasks.questions import noted
        from bionemo_ext.tasks.variant_effects import stream_scans

        asked: deque[Record] = deque()
        proteins = (record.sequence for record in noted(records, asked))
        method = Method(str(self.inputs[METHOD]))
        for scan in stream_scans(ServerLogits(client), proteins, method, advance):
            record = asked.popleft()
            length = len(record.sequence)
            seen = len(list(windows(length, self.limit)))
            yield Result(record.name, record.sequence, length, seen, {SCAN: scan})


class WholeProteins(Source):
    """Proteins each of whose residues is counted once, in however many windows it is seen."""

    def count(self, length: int) -> int:
        """Give the length."""
        return length


@dataclass(kw_only=True)
class Variants(Source):
    """The proteins of a FASTA, once for each of their variants.

    Parameters
    ----------
    listed : Mutants
        What is to be scored.
    method : Method
        How.
    offset : int
        What positions count too many.
    names : list of str
        The variant of each record that the last iteration yielded, as the user wrote it.
    variants : list of Variant
        The same as it was read.
    """

    listed: "Mutants"
    method: Method
    offset: int = 0
    names: list[str] = field(default_factory=list)
    variants: list[Variant] = field(default_factory=list)

    def __iter__(self) -> "Iterator[Record]":
        """Yield a record a variant.

        Raises
        ------
        InputError
            As :class:`Source`, and if a variant does not fit its sequence; variants of a protein
            that is not there are told at the end.
        """
        self.names.clear()
        self.variants.clear()
        proteins = set()
        for record in super().__iter__():
            proteins.add(record.name)
            for text in self.listed.of(record.name):
                variant = self._read(text, record)
                if variant is not None:
                    self.names.append(text)
                    self.variants.append(variant)
                    yield record
        others = self.listed.others(proteins)
        if others:
            raise DataError(
                f"there are variants of {len(others):,} proteins that the FASTA does not have; the "
                f"first is {others[0]!r}"
            )
        if not self.names:
            raise DataError("no variant can be scored")

    def count(self, length: int) -> int:
        """A variant is one, whatever the protein's length."""
        return 1

    def _read(self, text: str, record: "Record") -> Variant | None:
        whose = f"variant {text!r} of record {record.name!r}"
        try:
            variant = parse_variant(text, record.sequence, whose, self.offset)
            self._check_sites(record.sequence, variant, whose)
        except InputError as error:
            if not self.skip_bad:
                raise
            self._skip(record.name, error)
            return None
        return variant

    def _check_sites(self, wild: str, variant: Variant, whose: str) -> None:
        from bionemo_ext.tasks.variant_effects import check_variant

        try:
            check_variant(wild, variant, self.method, self.limit)
        except VariantError as error:
            raise VariantError(f"{whose}: {error}", error.reason) from None


@dataclass(kw_only=True)
class ScanVariants(Source):
    """The wild type of a scan once for each variant.

    Parameters
    ----------
    scan : Scan
        The variants.
    """

    scan: "Scan"

    def __iter__(self) -> "Iterator[Record]":
        """Yield a record a variant."""
        from bionemo_ext.sequences import Record

        for _ in self.scan.variants:
            yield Record(self.scan.name, self.scan.wild)

    def count(self, length: int) -> int:
        """A variant is one, whatever the protein's length."""
        return 1
