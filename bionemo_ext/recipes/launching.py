"""A launch as it was asked for: composed, and checked before anything is written or submitted."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from omegaconf import OmegaConf

from bionemo_ext.errors import ConfigError
from bionemo_ext.recipes import cluster as places
from bionemo_ext.recipes import preflight
from bionemo_ext.recipes.card.origin import PUBLISHED
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.settings import PretrainSettings
from bionemo_ext.resources import resource

_NAME_LIMIT = 40
# What NeMo-Run's batch script writes without quotes.
_PLAIN_PATH = re.compile(r"[\w./+=@:,~-]+")


@dataclass(frozen=True)
class Launch:
    """A checked launch.

    Parameters
    ----------
    cluster : LocalSettings, SlurmSettings or KubeflowSettings
        Where.
    run : PretrainSettings
        What.
    words : tuple of str
        The words that ``bionemo-ext pretrain`` is given.
    """

    cluster: places.Settings
    run: PretrainSettings
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the job: that of the run's folder, as every cluster takes it.

        A TrainJob gives its name to a service (RFC 1035: a letter first) and to pods, which add 15
        characters or more to it (63 at most).
        """
        plain = re.sub(r"[^a-z0-9]+", "-", Path(self.run.out).name.lower()).strip("-")
        named = plain if plain[:1].isalpha() else f"run-{plain}"
        return named[:_NAME_LIMIT].strip("-")

    @property
    def home(self) -> Path:
        """Where NeMo-Run keeps its scripts and logs: beside the run's folder."""
        slurm = isinstance(self.cluster, places.SlurmSettings)
        out = Path(self.cluster.base if slurm else Path.cwd(), self.run.out)
        return out.with_name(f"{out.name}.launch")


def read(words: Sequence[str]) -> Launch:
    """Compose and check a launch.

    Parameters
    ----------
    words : sequence of str
        ``cluster=`` and ``cluster.key=value``, and those of ``pretrain``.

    Raises
    ------
    ConfigError
        As :func:`bionemo_ext.recipes.config.compose`, and for what does not go together.
    """
    own = [word for word in words if re.match(r"cluster[.=]", word)]
    run_words = [word for word in words if word not in own]
    cluster = compose("launch", own, _schema(own)).cluster
    run = compose("pretrain", run_words, PretrainSettings)
    preflight.check_ranks(run, launched=True)
    if cluster.executor is places.Kind.LOCAL:
        _check_local(cluster, run)
    if cluster.executor is places.Kind.KUBEFLOW:
        _check_volumes(cluster, run)
    launch = Launch(cluster, run, tuple(run_words))
    if cluster.executor is places.Kind.SLURM and not _PLAIN_PATH.fullmatch(str(launch.home)):
        raise ConfigError(
            f"out is {run.out}, but for Slurm a path of letters, digits and ./_- is needed"
        )
    return launch


def _schema(words: Sequence[str]) -> type:
    """Find the schema of the executor that the chosen file names; an unknown file fails later."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("cluster=")]
    path = resource("conf") / "cluster" / f"{chosen[-1] if chosen else 'local'}.yaml"
    if not path.is_file():
        return places.LocalLaunch
    kind = OmegaConf.load(path).get("executor")
    if kind not in places.LAUNCHES:
        known = ", ".join(kind.value for kind in places.Kind)
        raise ConfigError(f"{path.name}: executor is {kind!r}, but one of {known} is needed")
    return places.LAUNCHES[kind]


def _check_local(cluster: places.LocalSettings, run: PretrainSettings) -> None:
    if run.parallel.nodes > 1 and not cluster.rendezvous:
        raise ConfigError(
            f"parallel.nodes is {run.parallel.nodes}, but cluster=local is one node; choose "
            "cluster=slurm or cluster=kubeflow, or parallel.nodes=1, or start the same command on "
            "every node with cluster.rendezvous=HOST:PORT, an address of the first"
        )
    if cluster.rendezvous and not re.fullmatch(r"[\w.-]+:\d+", cluster.rendezvous):
        raise ConfigError(
            f"cluster.rendezvous is {cluster.rendezvous!r}, but HOST:PORT is needed, as node1:29500"
        )
    preflight.check(run, launched=True)


def _check_volumes(cluster: places.KubeflowSettings, run: PretrainSettings) -> None:
    paths = {
        "out": run.out,
        "data.train": run.data.train,
        "data.validation": run.data.validation,
        "init": None if is_published(run.init) else run.init,
    }
    for key, path in paths.items():
        parents = [str(parent) for parent in PurePosixPath(path or "").parents]
        if path and not any(volume.rstrip("/") in parents for volume in cluster.volumes):
            raise ConfigError(
                f"{key} is {path}, but a path below a volume is needed, as "
                "cluster.volumes='{/data: name-of-a-claim}'"
            )


def is_published(init: str | None) -> bool:
    """Whether a run begins from weights by their published name, which is no path."""
    return init is not None and PUBLISHED.fullmatch(init) is not None
