"""The ESM-1nv set: UniRef50's representatives of at most 512 residues, split at random."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from bionemo_ext.data.folder import TEST, TRAIN, VALIDATION, Description
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.data.uniref.encoded import Encoded
from bionemo_ext.data.uniref.names import NameIndex
from bionemo_ext.data.uniref.parts import Part, write_store
from bionemo_ext.data.uniref.split import Share, set_aside
from bionemo_ext.data.uniref.workplace import Workplace
from bionemo_ext.sequences import ESM1NV

# The card's 4.35K and 875K of 4.35K + 875K + 45.1M sequences.
_CARD_TOTAL = 4_350 + 875_000 + 45_100_000
VALIDATION_SHARE, TEST_SHARE = 4_350 / _CARD_TOTAL, 875_000 / _CARD_TOTAL


@dataclass(frozen=True)
class ESM1nvOptions:
    """What to build.

    Parameters
    ----------
    uniref50 : Path
        The download.
    out : Path
        The store's folder, which must not be there yet.
    max_residues : int
        Longer sequences are left out.
    validation, test : Share
        What is set aside; the card's shares.
    seed : int
        Which.
    release : str, optional
        UniRef's release, for the description.
    """

    uniref50: Path
    out: Path
    max_residues: int = ESM1NV.max_residues
    validation: Share = field(default_factory=lambda: Share(VALIDATION_SHARE))
    test: Share = field(default_factory=lambda: Share(TEST_SHARE))
    seed: int = 42
    release: str | None = None


def build_esm1nv(options: ESM1nvOptions, bar: Bar = silent) -> Description:
    """Build the store and give its description.

    Raises
    ------
    FastaError, DataError
        If the input cannot be used, or there is something at ``out`` already.
    """
    with Workplace(options.out, [options.uniref50], asdict(options)) as work:
        reps = Encoded.make(options.uniref50, ESM1NV, work.path("uniref50"), bar)
        repeated = NameIndex(reps.numbers).repeats(reps.numbers)
        short = reps.lengths <= options.max_residues
        wanted = short & ~repeated
        validation, test = set_aside(wanted, [options.validation, options.test], options.seed)
        train = wanted & ~validation & ~test
        counts = {
            **{"repeated_names": repeated, "too_long": ~short & ~repeated},
            **{"validation": validation, "test": test, "train": train},
        }
        described = {
            "kind": "esm1nv",
            "release": options.release,
            "seed": options.seed,
            "max_residues": options.max_residues,
            "sources": [{"role": "UniRef50", **reps.facts["source"]}],
            "counts": {"uniref50": {**reps.counts, **{k: int(v.sum()) for k, v in counts.items()}}},
        }
        sets = {TRAIN: train, VALIDATION: validation, TEST: test}
        parts = [Part(name, [(reps, mask)]) for name, mask in sets.items()]
        return write_store(work, parts, ESM1NV, described, bar)
