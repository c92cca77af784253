"""Run a study: embed, compress, regress; what is done already is not done again."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bionemo_ext import __version__
from bionemo_ext.data.progress import Bar, silent
from bionemo_ext.parent import end_with_parent
from bionemo_ext.study.cost import Cost, measure
from bionemo_ext.study.datasets import Dataset
from bionemo_ext.study.features import Features, prepare, whole
from bionemo_ext.study.regression import FOLDS, Protocol, Regressor, cross_validate
from bionemo_ext.study.sources import Source

if TYPE_CHECKING:
    import pandas as pd

_KEY = b"bionemo_ext"


@dataclass(frozen=True)
class Study:
    """What is to be held against each other.

    Parameters
    ----------
    sources : sequence of Source
        Encoders and controls.
    datasets : sequence of Dataset
        Labelled proteins.
    methods : sequence of str
        Compressions, of :data:`bionemo_ext.study.compression.METHODS`.
    out : Path
        Folder of results.
    regressors : sequence of Regressor
        What learns.
    protocol : Protocol
        What a fold may know of its test part.
    sample_sizes : sequence of int
        Beside all rows, so many of each training part.
    workers : int
        Processes that compress and regress.
    """

    sources: Sequence[Source]
    datasets: Sequence[Dataset]
    methods: Sequence[str]
    out: Path
    regressors: Sequence[Regressor] = (Regressor.LASSO,)
    protocol: Protocol = Protocol.INSIDE
    sample_sizes: Sequence[int] = ()
    workers: int = os.cpu_count() or 1


@dataclass(frozen=True)
class _Unit:
    """Five folds of one method: what one worker does in one go."""

    features: Features
    dataset: Dataset
    method: str
    regressor: Regressor
    protocol: Protocol
    train_rows: int | None
    path: Path
    key: str

    def load(self) -> float:
        """How long it may take, beside others."""
        weight = 8.0 if self.method in ("idct4", "idct5") else 1.0
        return weight * len(self.dataset.sequences)


def run_study(
    study: Study, bar: Bar = silent, say: Callable[[str], None] = lambda line: None
) -> "tuple[pd.DataFrame, dict[str, Cost]]":
    """Compute every fold that is not there yet.

    Parameters
    ----------
    study : Study
        What to compute.
    bar : Bar
        Shows progress.
    say : callable
        Told of a data set that fails; the others go on.

    Returns
    -------
    results : DataFrame
        A row a fold: ``model``, ``dataset``, ``method``, ``regressor``, ``sample``, and the fields
        of :class:`bionemo_ext.study.regression.FoldScore`. Also ``<out>/results.parquet``.
    costs : dict of str to Cost
        By the source's name.
    """
    import pandas as pd

    study.out.mkdir(parents=True, exist_ok=True)
    costs = _costs(study)
    with _workers(study.workers) as pool:
        units = list(_units(study, _features(study, pool, bar)))
        todo = [unit for unit in units if not _is_finished(unit)]
        with bar("regressions", len(units), "units") as advance:
            advance(len(units) - len(todo))
            todo.sort(key=_Unit.load, reverse=True)  # no worker is left with a long one at the end
            futures = {pool.submit(_regress, unit): unit for unit in todo}
            for future in as_completed(futures):
                future.result()
                advance(1)
    table = pd.concat([pd.read_parquet(unit.path) for unit in units], ignore_index=True)
    with whole(study.out / "results.parquet") as partial:
        table.to_parquet(partial, index=False)
    return table, costs


def _features(study: Study, pool: Executor, bar: Bar) -> dict[tuple[str, str], Features]:
    """Features by source and data set."""
    found = {}
    for source in study.sources:
        total = sum(sum(map(len, set(data.sequences))) for data in study.datasets)
        with bar(f"embedding with {source.name}", total, "residues") as advance:
            for data in study.datasets:
                found[source.name, data.name] = prepare(
                    study.out / "features", source, data.sequences, study.methods, pool, advance
                )
    return found


def _units(study: Study, features: dict[tuple[str, str], Features]) -> Iterator[_Unit]:
    for source in study.sources:
        for data in study.datasets:
            rows = [None, *(n for n in study.sample_sizes if n < _train_rows(data))]
            for method in study.methods:
                for regressor in study.regressors:
                    for size in rows:
                        yield _unit(study, source, data, method, regressor, size, features)


def _unit(
    study: Study,
    source: Source,
    data: Dataset,
    method: str,
    regressor: Regressor,
    size: int | None,
    features: dict[tuple[str, str], Features],
) -> _Unit:
    key = {
        "version": __version__,
        "source": source.identity,
        "dataset": data.digest,
        "method": method,
        "regressor": regressor.value,
        "protocol": study.protocol.value,
        "train_rows": size,
    }
    words = [method, regressor.value, study.protocol.value, *([str(size)] if size else [])]
    path = study.out / "folds" / source.name / data.name / f"{'-'.join(words)}.parquet"
    found = features[source.name, data.name]
    text = json.dumps(key, sort_keys=True)
    return _Unit(found, data, method, regressor, study.protocol, size, path, text)


def _train_rows(data: Dataset) -> int:
    return len(data.sequences) * (FOLDS - 1) // FOLDS


def _is_finished(unit: _Unit) -> bool:
    import pyarrow.parquet as pq

    try:
        return bool(pq.read_schema(unit.path).metadata.get(_KEY) == unit.key.encode())
    except (OSError, ValueError, AttributeError):
        return False


def _regress(unit: _Unit) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    scores = cross_validate(
        unit.features.read(unit.method),
        unit.dataset.targets,
        unit.regressor,
        unit.protocol,
        unit.train_rows,
    )
    what: dict[str, Any] = {
        "model": unit.features.path.parent.name,
        "dataset": unit.dataset.name,
        "method": unit.method,
        "regressor": unit.regressor.value,
        "protocol": unit.protocol.value,
        "sample": unit.train_rows or 0,  # 0: all
    }
    table = pa.Table.from_pylist([{**what, **asdict(score)} for score in scores])
    unit.path.parent.mkdir(parents=True, exist_ok=True)
    with whole(unit.path) as partial:
        pq.write_table(table.replace_schema_metadata({_KEY: unit.key}), partial)


def _costs(study: Study) -> dict[str, Cost]:
    """Cost of each source, measured once and kept."""
    found = {}
    proteins = [sequence for data in study.datasets for sequence in data.sequences]
    for source in study.sources:
        path = study.out / "features" / source.name / "cost.json"
        try:
            kept = json.loads(path.read_text())
            if kept.pop("source") != source.identity:
                raise ValueError
            found[source.name] = Cost(**kept)
        except (OSError, ValueError, TypeError, KeyError):
            found[source.name] = measure(source, proteins)
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = {"source": source.identity, **asdict(found[source.name])}
            with whole(path) as partial:
                partial.write_text(json.dumps(kept, indent=2) + "\n")
    return found


@contextmanager
def _workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each; what waits is dropped when the study is interrupted."""
    pool = ProcessPoolExecutor(count, get_context("spawn"), _prepare_worker)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    import signal

    import sklearn.linear_model  # noqa: F401 (threads can be limited of what is loaded)
    from threadpoolctl import threadpool_limits

    end_with_parent()  # else they compute on when it is killed
    # Ctrl-C reaches the whole group; the parent tells of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1)
