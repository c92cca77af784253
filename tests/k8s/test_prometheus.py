"""A real Prometheus reads a real server: under load what the autoscaler asks crosses its limits."""

import json
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.grpc as triton
import yaml
from operating import Serving, connect, free_ports, strings
from rendering import COMBINATIONS, TOOLS, objects, one

pytestmark = [pytest.mark.server, pytest.mark.slow]

CLIENTS = 24
# A pass; the encoder computes equal sequences once.
SEQUENCES = strings([b"MKTVRQGLWE"[i % 10 :] * 30 + b"G" * i for i in range(40)])


@pytest.fixture(scope="module")
def serving(out):
    with Serving(out / "triton", "--threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def ask(serving, tmp_path_factory):
    """Prometheus with the chart's rules, looking every second; gives a function that queries it."""
    binary = shutil.which("prometheus") or TOOLS / "prometheus"
    if not Path(binary).is_file():
        pytest.skip(f"no prometheus on the PATH and none in {TOOLS}; .ci/tools unpacks Debian's")
    folder = tmp_path_factory.mktemp("prometheus")
    rules = one(objects(*COMBINATIONS["cpu"]), "PrometheusRule")["spec"]
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    target = {
        "targets": [f"127.0.0.1:{serving.metrics}"],
        # As the PodMonitor's series have them.
        "labels": {"namespace": "proteins", "pod": "a"},
    }
    jobs = [{"job_name": "esm2", "static_configs": [target]}]
    config = {"global": {"scrape_interval": "1s"}, "rule_files": ["rules.yaml"]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config | {"scrape_configs": jobs}))
    (port,) = free_ports(1)
    words = [f"--config.file={folder}/config.yaml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen(
        [binary, *words, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )

    def query(expression):
        words = urlencode({"query": expression})
        try:
            with urlopen(f"http://127.0.0.1:{port}/api/v1/query?{words}", timeout=5) as reply:
                found = json.load(reply)["data"]["result"]
        except OSError:
            assert process.poll() is None
            return None
        return float(found[0]["value"][1]) if found else None

    yield query
    process.terminate()
    process.wait(30)


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.5)


def test_load_crosses_the_threshold_and_calm_does_not(serving, ask):
    queue, pending = (
        m["pods"]["metric"]["name"]
        for m in one(objects(*COMBINATIONS["cpu"]), "HorizontalPodAutoscaler")["spec"]["metrics"]
    )
    wait_until(lambda: ask(queue) == 0 and ask(pending) == 0)
    stop = False
    output = [triton.InferRequestedOutput("mean")]

    def load():
        with connect(serving.url) as client:
            while not stop:
                answer = client.infer("esm2_embed", SEQUENCES, outputs=output)
                assert np.isfinite(answer.as_numpy("mean")).all()

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(load) for _ in range(CLIENTS)]
        try:
            # The values' thresholds: 16 wait, each for more than a second.
            wait_until(lambda: (ask(pending) or 0) > 16 and (ask(queue) or 0) > 1)
        finally:
            stop = True
        for client in clients:
            client.result()
    wait_until(lambda: ask(pending) == 0)
