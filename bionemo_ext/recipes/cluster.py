"""Where a run may be launched: the keys of ``conf/cluster`` and NeMo-Run's executors for them.

NeMo-Run is imported inside functions: it reads ``NEMORUN_HOME`` when it is imported, which
:mod:`bionemo_ext.recipes.submit` sets first.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING

from bionemo_ext.errors import RunError
from bionemo_ext.recipes.config_schema import limited
from bionemo_ext.recipes.settings import ParallelSettings, PretrainSettings

if TYPE_CHECKING:
    from nemo_run.core.execution.kubeflow import KubeflowExecutor
    from nemo_run.core.execution.local import LocalExecutor
    from nemo_run.core.execution.slurm import SlurmExecutor

# How long torchrun lets its ranks save when it is told to end, less than the warning before that.
_GRACE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
_GRACE_MARGIN_SECONDS = 10
_PORT = 29500
# torchrun tells of its own doings otherwise.
_QUIET = {"LOGLEVEL": "WARNING"}


class Kind(str, Enum):
    """Kind of place."""

    LOCAL = "local"
    SLURM = "slurm"
    KUBEFLOW = "kubeflow"


class PodFields(str, Enum):
    """Where a TrainJob tells of its pods: Kubeflow Trainer renamed the field in 2.2."""

    RUNTIME_PATCHES = "runtimePatches"
    POD_TEMPLATE_OVERRIDES = "podTemplateOverrides"


@dataclass(frozen=True)
class LocalSettings:
    """The machine that launch runs on."""

    executor: Kind = Kind.LOCAL
    env: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SlurmSettings:
    """A Slurm cluster.

    ``workdir`` is where relative paths of a run begin, by default where launch is called; an image
    sees it and ``mounts``. ``warn_seconds`` before its time is over the job is told to end, saves,
    and is queued again, ``requeues`` times at most.
    """

    executor: Kind = Kind.SLURM
    account: str = MISSING
    partition: str | None = None
    qos: str | None = None
    time: str = "24:00:00"
    constraint: str | None = None
    exclusive: bool = True
    memory: str | None = None
    cpus_per_task: int | None = None
    image: str | None = None
    mounts: list[str] = field(default_factory=list)
    workdir: str | None = None
    setup: str | None = None
    warn_seconds: int = limited(_GRACE_MARGIN_SECONDS + 1, default=120)
    requeues: int = limited(0, default=100)
    env: dict[str, str] = field(default_factory=dict)
    flags: dict[str, str] = field(default_factory=dict)

    @property
    def base(self) -> str:
        """Folder that relative paths of a run begin at."""
        return self.workdir or str(Path.cwd())


@dataclass(frozen=True)
class KubeflowSettings:
    """A Kubernetes cluster with Kubeflow Trainer; ``volumes`` are claims by the path they get."""

    executor: Kind = Kind.KUBEFLOW
    namespace: str = "default"
    runtime_ref: str = "torch-distributed"
    pod_fields: PodFields = PodFields.RUNTIME_PATCHES
    image: str = MISSING
    image_pull_secrets: list[str] = field(default_factory=list)
    volumes: dict[str, str] = field(default_factory=dict)
    shared_memory: str = "16Gi"
    cpu: str | None = None
    memory: str | None = None
    warn_seconds: int = limited(_GRACE_MARGIN_SECONDS + 1, default=120)
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


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


def local_executor(cluster: LocalSettings, run: PretrainSettings) -> LocalExecutor:
    """The machine that launch runs on, with torchrun."""
    from nemo_run.core.execution.launcher import Torchrun
    from nemo_run.core.execution.local import LocalExecutor

    # torchrun is that of the Python that runs this.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ranks = run.parallel.devices
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    return LocalExecutor(
        ntasks_per_node=ranks,
        launcher=Torchrun(rdzv_id=_PORT),
        env_vars={"PATH": path, "OMP_NUM_THREADS": threads, **_QUIET, **cluster.env},
    )


def slurm_executor(cluster: SlurmSettings, run: PretrainSettings) -> SlurmExecutor:
    """A Slurm cluster, with one torchrun a node."""
    parallel = run.parallel
    from nemo_run.core.execution.launcher import Torchrun
    from nemo_run.core.execution.slurm import SlurmExecutor
    from nemo_run.core.packaging.base import Packager

    workdir = cluster.base
    env = {_GRACE: str(cluster.warn_seconds - _GRACE_MARGIN_SECONDS), **_QUIET, **cluster.env}
    if not cluster.image:
        env = {"PATH": f"{Path(sys.executable).parent}:$PATH", **env}
    return SlurmExecutor(
        account=cluster.account,
        job_name_prefix="bionemo-ext.",
        partition=cluster.partition,
        qos=cluster.qos,
        time=cluster.time,
        constraint=cluster.constraint,
        exclusive=cluster.exclusive or None,
        mem=cluster.memory,
        cpus_per_task=cluster.cpus_per_task,
        nodes=parallel.nodes,
        ntasks_per_node=1,
        gpus_per_node=parallel.devices,
        torchrun_nproc_per_node=parallel.devices,
        signal=f"TERM@{cluster.warn_seconds}",
        retries=cluster.requeues,
        container_image=cluster.image,
        container_mounts=[*cluster.mounts, f"{workdir}:{workdir}"],
        setup_lines="\n".join(filter(None, (_once_more(workdir, run.out), cluster.setup))),
        additional_parameters=dict(cluster.flags),
        env_vars=env,
        launcher=Torchrun(rdzv_port=_PORT, rdzv_id=_PORT),
        poll_estimated_start_time=False,
        packager=Packager(),  # the code is in the image or the environment
    )


def _once_more(workdir: str, out: str) -> str:
    """Lines by which a job is queued again only if it has left a newer checkpoint than it found.

    NeMo-Run's script queues a job again whenever its command fails, also for a mistake that would
    fail again; the command of a run that was told to end fails too, having saved.
    """
    folder = shlex.quote(str(Path(workdir, out, "checkpoints")))
    return f"""\
newest() {{ ls {folder} 2>/dev/null | grep -x 'step-[0-9]*' | tail -n 1; }}
srun() {{
  local before code; before=$(newest)
  command srun "$@"; code=$?
  [ "$(newest)" != "$before" ] || TORCHX_MAX_RETRIES=0
  return $code
}}"""


def kubeflow_executor(
    cluster: KubeflowSettings, parallel: ParallelSettings, *, offline: bool
) -> KubeflowExecutor:
    """A Kubernetes cluster with Kubeflow Trainer.

    Parameters
    ----------
    cluster, parallel
        The place and the layout.
    offline : bool
        Only a manifest is wanted: no cluster's address is looked for.

    Raises
    ------
    RunError
        If the Kubernetes client is not installed or finds no cluster.
    """
    from nemo_run.core.execution.kubeflow import KubeflowExecutor

    class Offline(KubeflowExecutor):
        def __post_init__(self) -> None: ...

    volumes, mounts = _volumes(cluster)
    grace = cluster.warn_seconds
    native: dict[str, Any] = {}
    if cluster.pod_fields is PodFields.POD_TEMPLATE_OVERRIDES:
        native = {
            "volumes": volumes,
            "volume_mounts": mounts,
            "image_pull_secrets": cluster.image_pull_secrets,
        }
    else:
        native = {"spec_kwargs": {"runtimePatches": [_patch(cluster, volumes, mounts)]}}
    kind = Offline if offline else KubeflowExecutor
    try:
        return kind(
            runtime_ref=cluster.runtime_ref,
            namespace=cluster.namespace,
            image=cluster.image,
            num_nodes=parallel.nodes,
            gpus_per_node=parallel.devices,
            cpu_requests=cluster.cpu,
            memory_requests=cluster.memory,
            labels=dict(cluster.labels),
            env_vars={_GRACE: str(grace - _GRACE_MARGIN_SECONDS), **cluster.env},
            **native,
        )
    except ImportError:
        raise RunError(
            "the package kubernetes is not installed, which submitting needs: pip install "
            "kubernetes; --dry-run prints a manifest for kubectl create -f - without it"
        ) from None
    except Exception as error:
        raise RunError(f"no Kubernetes cluster is configured: {error}") from None


def _volumes(cluster: KubeflowSettings) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Claims and, for NCCL and data workers, shared memory: volumes and where they are mounted."""
    volumes: list[dict[str, Any]] = [
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": cluster.shared_memory}}
    ]
    mounts = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108
    for claim in dict.fromkeys(cluster.volumes.values()):
        volumes.append({"name": claim, "persistentVolumeClaim": {"claimName": claim}})
    mounts += [{"name": claim, "mountPath": path} for path, claim in cluster.volumes.items()]
    return volumes, mounts


def _patch(
    cluster: KubeflowSettings, volumes: Sequence[dict[str, Any]], mounts: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What the pods of the runtime's job ``node`` get besides: ``spec.runtimePatches[]``."""
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": cluster.warn_seconds,
        "volumes": list(volumes),
        "containers": [{"name": "node", "volumeMounts": list(mounts)}],
    }
    if cluster.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in cluster.image_pull_secrets]
    job = {"name": "node", "template": {"spec": {"template": {"spec": pod}}}}
    return {
        "manager": "bionemo-ext/launch",
        "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}},
    }
