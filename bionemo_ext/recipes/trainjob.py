"""A run as a TrainJob of Kubeflow Trainer, written by NeMo-Run's executor."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bionemo_ext.errors import RunError
from bionemo_ext.recipes.cluster import KubeflowSettings, PodFields, environment
from bionemo_ext.recipes.settings import PretrainSettings

if TYPE_CHECKING:
    from nemo_run.core.execution.kubeflow import KubeflowExecutor


def trainjob(
    name: str, command: Sequence[str], cluster: KubeflowSettings, run: PretrainSettings
) -> dict[str, Any]:
    """Write the manifest; no cluster is asked.

    Parameters
    ----------
    name : str
        Of the TrainJob: a label of RFC 1035 of at most 40 characters, because services and pods
        are named after it.
    command : sequence of str
        What every pod runs.
    cluster, run
        The place and the run.

    Returns
    -------
    dict
        ``trainer.kubeflow.org/v1alpha1`` TrainJob.
    """
    return _executor(cluster, run).get_job_body(name, list(command))


def create(body: dict[str, Any]) -> None:
    """Have the cluster of the kubeconfig, or the one that this runs in, take a TrainJob.

    NeMo-Run's own submission gives the job another name each time, so that two would write to one
    folder, and replaces one of the same name.

    Raises
    ------
    RunError
        If the Kubernetes client is not installed, finds no cluster, or the cluster does not take
        it.
    """
    try:
        from kubernetes import client, config
    except ImportError:
        raise RunError(
            "the package kubernetes is not installed, which submitting needs: pip install "
            "kubernetes; --dry-run prints a manifest for kubectl create -f - without it"
        ) from None
    try:
        config.load_kube_config()
    except config.ConfigException as error:
        try:
            config.load_incluster_config()
        except config.ConfigException:
            raise RunError(f"no Kubernetes cluster is configured: {error}") from None
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    group, _, version = body["apiVersion"].partition("/")
    api = client.CustomObjectsApi()
    try:
        api.create_namespaced_custom_object(group, version, namespace, "trainjobs", body)
    except client.ApiException as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        raise RunError(
            f"namespace {namespace} has a TrainJob {name}, which writes to the same out= while it "
            f"runs; kubectl -n {namespace} delete trainjob {name} makes room for another"
        ) from None


def _executor(cluster: KubeflowSettings, run: PretrainSettings) -> KubeflowExecutor:
    from nemo_run.core.execution.kubeflow import KubeflowExecutor

    class Offline(KubeflowExecutor):
        def __post_init__(self) -> None: ...  # NeMo-Run's looks for a cluster

    volumes, mounts = _volumes(cluster)
    native: dict[str, Any] = {}
    if cluster.pod_fields is PodFields.POD_TEMPLATE_OVERRIDES:
        native = {
            "volumes": volumes,
            "volume_mounts": mounts,
            "image_pull_secrets": cluster.image_pull_secrets,
        }
    else:
        native = {"spec_kwargs": {"runtimePatches": [_patch(cluster, volumes, mounts)]}}
    return Offline(
        runtime_ref=cluster.runtime_ref,
        namespace=cluster.namespace,
        image=cluster.image,
        num_nodes=run.parallel.nodes,
        gpus_per_node=run.parallel.devices,
        cpu_requests=cluster.cpu,
        memory_requests=cluster.memory,
        memory_limits=cluster.memory,
        labels=dict(cluster.labels),
        env_vars=environment(cluster, run),
        **native,
    )


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
