"""A wrong value ends with a sentence that names it, before anything is created."""

import pytest
import yaml
from rendering import CHART, COMBINATIONS, objects, template

RES = "resources.requests.memory=4Gi,resources.limits.memory=4Gi,resources.limits.cpu=2"
STORE = "repository.source=objectStore,repository.objectStore.remote=:s3:bucket/v1"
MISTAKES = {
    # what values.schema.json tells: types, choices, limits, keys
    "replicas=two": "'/replicas': got string, want integer",
    "model=esm2_7b": "'/model': value must be one of 'esm2_8m', 'esm2_35m', 'esm2_150m'",
    "device=tpu": "'/device': value must be one of 'cpu', 'gpu'",
    "repository.source=s3": "value must be one of 'claim', 'objectStore', 'image'",
    "replica=2": "additional properties 'replica' not allowed",
    "serve.thread=2": "at '/serve': additional properties 'thread' not allowed",
    "serve.drainSeconds=-1": "'/serve/drainSeconds': minimum: got -1, want 0",
    "serve.open={everything}": "value must be one of 'model-control', 'shared-memory'",
    "resources.requests.cpu=2": "'/resources/requests': missing property 'memory'",
    "rollingUpdate.maxSurge=one": "'/rollingUpdate/maxSurge': got string, want integer",
    "networkPolicy.objectStorePorts={0}": "objectStorePorts/0': minimum: got 0, want 1",
    "gateway.replicas=0": "'/gateway/replicas': minimum: got 0, want 1",
    # what the templates tell: formats
    "sharedMemory=2GB": "sharedMemory is '2GB', but an amount of bytes such as 20Gi is needed",
    "image.tag=latest": "image.tag is 'latest', which does not say what runs",
    "image.digest=sha256:12": "image.digest is 'sha256:12', but sha256: and 64 hexadecimal digits",
    "repository.objectStore.image=rclone/rclone:latest": "which does not say what runs",
    "tls.secret=My_Secret": "tls.secret is 'My_Secret', but the name of an object",
    "repository.path=/v1": "repository.path is '/v1', but a relative path",
    "exposure.grpcHost=https://a.org": "but the name of a host, such as esm2.example.org,",
    f"{RES},resources.requests.cpu=four": "resources.requests.cpu is 'four', but cores such as 4",
    "gateway.resources.limits.memory=1GB": "limits.memory is '1GB', but an amount of bytes",
    "repository.image.reference=models": "is 'models', but an image with its version or digest",
    # what is too small for the model
    f"model=esm2_3b,{RES},resources.requests.cpu=2": "memory is 4Gi, but the weights of esm2_3b",
    "model=esm2_15b,repository.newClaim.size=20Gi": "newClaim.size is 20Gi, but the weights of",
    f"model=esm2_15b,{STORE},repository.objectStore.size=900Mi": "size is 900Mi, but the weights",
    "sharedMemory=4Gi": "sharedMemory is 4Gi, but it counts towards the pod's memory, which is 4Gi",
    # and what does not go together
    "rollingUpdate.maxSurge=0": "maxSurge and rollingUpdate.maxUnavailable are both 0",
    "repository.source=objectStore": "so repository.objectStore.remote must name the folder",
    "repository.source=image": "so repository.image.reference must name the image",
    "repository.claim.name=": "so repository.claim.name must name a PersistentVolumeClaim",
    "tls.requireClients=true": "tls.requireClients needs tls.secret",
    "autoscaling.minReplicas=9": "minReplicas is 9, more than autoscaling.maxReplicas, 8",
    "autoscaling.kind=hpa": "reads metrics from Prometheus: set monitoring.monitor",
    "autoscaling.kind=hpa,monitoring.monitor=pod": "set monitoring.rules to true",
    "autoscaling.kind=keda,monitoring.monitor=pod": "autoscaling.prometheusUrl must be given",
    "exposure.kind=ingress": "exposure.grpcHost or exposure.gatewayHost must be given",
    "exposure.kind=ingress,exposure.gatewayHost=a.org": "but there is no gateway",
    "exposure.kind=ingress,exposure.grpcHost=a.org": "name the proxy's in networkPolicy.clients",
    "exposure.kind=gatewayApi,exposure.grpcHost=a.org": "exposure.parent.name must name a Gateway",
    "gateway.enabled=true,tls.secret=a": "gateway.serverCa.secret must tell the gateway",
}  # fmt: skip


@pytest.mark.parametrize(("value", "sentence"), MISTAKES.items(), ids=MISTAKES)
def test_a_wrong_value_is_told_in_a_sentence(value, sentence):
    done = template(sets=(value,))
    assert done.returncode != 0
    assert done.stdout == ""
    assert sentence in done.stderr


def test_the_models_are_those_that_the_recipes_know():
    known = {p.stem for p in (CHART.parents[1] / "conf" / "model").glob("*.yaml")}
    for_trying = {"esm2_demo", "esm2_3m"}
    done = template(sets=("model=none",))
    assert done.stderr.count("'esm") == len(known - for_trying)
    assert all(f"'{name}'" in done.stderr for name in known - for_trying)


def test_every_text_with_a_format_is_a_value():
    text = (CHART / "templates" / "_formats.tpl").read_text()
    block = text.split('define "bionemo-ext.formats" -}}')[1].split("{{- end")[0]
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for paths in yaml.safe_load(block).values():
        for path in paths:
            found = values
            for key in path.split("."):
                found = found[key]
            assert isinstance(found, str), path


def test_no_pod_runs_a_version_that_says_nothing():
    for values in COMBINATIONS.values():
        for found in objects(*values):
            pod = found.get("spec", {}).get("template", {}).get("spec", {})
            for one in [*pod.get("containers", ()), *pod.get("initContainers", ())]:
                version = one["image"].rpartition("/")[2]
                assert "@sha256:" in version or (":" in version and ":latest" not in version)
