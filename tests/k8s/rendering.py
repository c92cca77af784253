"""The chart as Helm renders it."""

import os
import re
import shlex
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "k8s" / "chart"
TOOLS = Path(os.environ.get("BIONEMO_EXT_TOOLS", ROOT / ".venv" / "tools"))

_MONITORED = ("monitoring.monitor=pod", "monitoring.rules=true")
_STORE = ("repository.source=objectStore", "repository.objectStore.remote=:s3:bucket/v1")
_DIGEST = "sha256:" + "0" * 64
# What is chosen by value, each at least once: (values files, --set).
COMBINATIONS = {
    "as it comes": ((), ()),
    "cpu": (("values-cpu.yaml",), ()),
    "gpu": (("values-gpu.yaml",), ()),
    "test": (("values-test.yaml",), ()),
    "object store and keda": (
        (),
        (
            *_STORE, "repository.objectStore.secret=store", "autoscaling.kind=keda",
            "repository.objectStore.env.RCLONE_S3_PROVIDER=AWS", "monitoring.monitor=service",
            "autoscaling.prometheusUrl=http://prometheus:9090", "autoscaling.queueMilliseconds=500",
            "networkPolicy.objectStorePorts={443,9000}", "gateway.serverCa.secret=ca",
        ),
    ),
    "image volume by digest, largest model": (
        ("values-gpu.yaml",),
        (
            "model=esm2_15b", "repository.source=image", "repository.path=v2",
            f"repository.image.reference=registry/models@{_DIGEST}", f"image.digest={_DIGEST}",
            "image.pullSecrets={registry}", "runtimeClassName=nvidia", "priorityClassName=high",
            "rollingUpdate.maxSurge=0", "rollingUpdate.maxUnavailable=25%",
        ),
    ),
    "mutual TLS, keys, gateway": (
        (),
        (
            "tls.secret=serving-tls", "tls.requireClients=true", "adminKey.secret=admin",
            "gateway.enabled=true", "gateway.serverCa.secret=serving-tls",
            "gateway.clientCertificate.secret=gateway-tls", "gateway.token.secret=token",
            "gateway.models.esm2-650m=esm2",
        ),
    ),
    "ingress": (
        (),
        (
            "exposure.kind=ingress", "exposure.grpcHost=grpc.example.org",
            "exposure.gatewayHost=esm2.example.org", "exposure.tlsSecret=web",
            "exposure.className=nginx", "gateway.enabled=true",
            "exposure.grpcAnnotations.nginx\\.ingress\\.kubernetes\\.io/backend-protocol=GRPC",
            "networkPolicy.clients[0].namespaceSelector.matchLabels.name=ingress",
        ),
    ),
    "gateway API": (
        (),
        (
            "exposure.kind=gatewayApi", "exposure.grpcHost=grpc.example.org",
            "exposure.gatewayHost=esm2.example.org", "exposure.parent.name=edge",
            "exposure.parent.namespace=edge", "gateway.enabled=true", "networkPolicy.enabled=false",
        ),
    ),
    "hpa, opened, own resources": (
        (),
        (
            *_MONITORED, "autoscaling.kind=hpa", "serve.open={model-control,trace}",
            "resources.requests.cpu=1500m", "resources.requests.memory=3Gi",
            "resources.limits.cpu=2", "resources.limits.memory=3Gi", "serve.cacheMib=256",
            "serve.drainSeconds=60", "preStopSeconds=10", "podAnnotations.team=proteins",
        ),
    ),
}  # fmt: skip


@cache
def helm() -> Path:
    """Helm's binary; skips where there is none."""
    found = shutil.which("helm") or (TOOLS / "helm")
    if not Path(found).is_file():
        pytest.skip(f"no helm on the PATH and none in {TOOLS}; .ci/tools installs it")
    return Path(found)


def run_helm(*words):
    """Run Helm, with nothing of the user's own settings."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(
        [helm(), *map(str, words)], capture_output=True, text=True, timeout=60, env=env
    )


def template(files=(), sets=()):
    """Run ``helm template``."""
    options = [word for name in files for word in ("-f", CHART / name)]
    options += [word for one in sets for word in ("--set", one)]
    return run_helm("template", "esm2", CHART, "--namespace", "proteins", *options)


@cache
def objects(files=(), sets=()):
    """What the chart makes of these values."""
    done = template(files, sets)
    assert done.returncode == 0, done.stderr
    return tuple(found for found in yaml.safe_load_all(done.stdout) if found)


def one(found, kind, suffix=""):
    """The one object of a kind, by the end of its name."""
    name = f"esm2-bionemo-ext{suffix}"
    (match,) = (o for o in found if o["kind"] == kind and o["metadata"]["name"] == name)
    return match


def container(found, suffix=""):
    """The container of a Deployment."""
    (only,) = one(found, "Deployment", suffix)["spec"]["template"]["spec"]["containers"]
    return only


def command_in_comment(path):
    """The `bionemo-ext` command in the first lines of a manifest."""
    comment = re.match(r"(?:#.*\n)+", path.read_text())[0]
    lines = [line.removeprefix("#").strip() for line in comment.splitlines()]
    text = "\n".join(lines).replace("\\\n", "")
    return shlex.split(text.splitlines()[0])[1:]
