"""Where a run may be launched: the keys of ``conf/cluster``."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from omegaconf import MISSING

from bionemo_ext.recipes import ranks
from bionemo_ext.recipes.config_schema import limited
from bionemo_ext.recipes.settings import PretrainSettings

# torchrun lets its ranks save when it is told to end, for less than the warning before that.
_GRACE_MARGIN_SECONDS = 10
_WARN_AT_LEAST = _GRACE_MARGIN_SECONDS + 1


class Kind(str, Enum):
    """Kind of place."""

    LOCAL = "local"
    SLURM = "slurm"
    KUBEFLOW = "kubeflow"


class PodFields(str, Enum):
    """Where a TrainJob tells of its pods: the first in Kubeflow Trainer 2.3, the second in 2.1."""

    RUNTIME_PATCHES = "runtimePatches"
    POD_TEMPLATE_OVERRIDES = "podTemplateOverrides"


@dataclass(frozen=True)
class LocalSettings:
    """The machine that launch runs on, or one of several that it is started on by hand.

    ``rendezvous`` is an address of the first of them, HOST:PORT, where they meet.
    """

    executor: Kind = Kind.LOCAL
    rendezvous: str | None = None
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlurmSettings:
    """A Slurm cluster.

    ``workdir`` is where relative paths of a run begin, by default where launch is called; an image
    sees it and ``mounts``. ``warn_seconds`` before its time is over the job is told to end, saves,
    and is queued again, ``requeues`` times at most. ``memory`` of 0 is all that a node has.
    """

    executor: Kind = Kind.SLURM
    account: str = MISSING
    partition: str | None = None
    qos: str | None = None
    time: str = "24:00:00"
    constraint: str | None = None
    exclusive: bool = True
    memory: str = "0"
    cpus_per_task: int | None = None
    image: str | None = None
    mounts: list[str] = field(default_factory=list)
    workdir: str | None = None
    setup: str | None = None
    warn_seconds: int = limited(_WARN_AT_LEAST, default=120)
    requeues: int = limited(0, default=100)
    env: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Folder that relative paths of a run begin at."""
        return self.workdir or str(Path.cwd())


@dataclass(frozen=True)
class KubeflowSettings:
    """A Kubernetes cluster with Kubeflow Trainer; ``volumes`` are claims by the path they get.

    ``cpu`` and ``memory`` are what every node's pod asks for and may use: with the GPUs they take
    the place of what the runtime says.
    """

    executor: Kind = Kind.KUBEFLOW
    namespace: str = "default"
    runtime_ref: str = "torch-distributed"
    pod_fields: PodFields = PodFields.RUNTIME_PATCHES
    image: str = MISSING
    image_pull_secrets: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    shared_memory: str = "16Gi"
    cpu: str = "32"
    memory: str = "256Gi"
    warn_seconds: int = limited(_WARN_AT_LEAST, default=120)
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


Settings = LocalSettings | SlurmSettings | KubeflowSettings


@dataclass(frozen=True)
class LocalLaunch:
    """``conf/launch.yaml`` on this machine."""

    cluster: LocalSettings = field(default_factory=LocalSettings)


@dataclass(frozen=True)
class SlurmLaunch:
    """``conf/launch.yaml`` on Slurm."""

    cluster: SlurmSettings = field(default_factory=SlurmSettings)


@dataclass(frozen=True)
class KubeflowLaunch:
    """``conf/launch.yaml`` on Kubernetes."""

    cluster: KubeflowSettings = field(default_factory=KubeflowSettings)


LAUNCHES: dict[str, type] = {
    Kind.LOCAL: LocalLaunch,
    Kind.SLURM: SlurmLaunch,
    Kind.KUBEFLOW: KubeflowLaunch,
}


def environment(cluster: Settings, run: PretrainSettings) -> dict[str, str]:
    """Variables of the ranks; the user's own come last."""
    found = {"NCCL_DEBUG": "WARN"}
    if not isinstance(cluster, LocalSettings):
        grace = cluster.warn_seconds - _GRACE_MARGIN_SECONDS
        found["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"] = str(grace)
    return found | ranks.environment(run.parallel.tensor) | dict(cluster.env)
