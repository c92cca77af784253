"""Kubernetes' client hands an API server the TrainJob, once."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

WORDS = (
    "cluster=kubeflow", "cluster.image=registry/image:1", "cluster.volumes={/data: claim}",
    "cluster.namespace=science", "recipe=esm2_3b", "data.train=/data/uniref", "out=/data/runs/a",
)  # fmt: skip


@pytest.fixture
def api(tmp_path, monkeypatch):
    """An API server that takes each name once, and the kubeconfig of its users; gives what came."""
    pytest.importorskip("kubernetes", reason="not part of the lock")
    taken = {}

    class Api(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body["metadata"]["name"]
            known = (self.path, name) in taken
            taken.setdefault((self.path, name), body)
            answer = {"message": "there already"} if known else body
            content = json.dumps(answer).encode()
            self.send_response(409 if known else 201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    named = {"name": "try"}
    config = {
        "clusters": [named | {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [named | {"user": {}}],
        "contexts": [named | {"context": {"cluster": "try", "user": "try"}}],
        "current-context": "try",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    yield taken
    server.shutdown()
    server.server_close()


def test_a_cluster_takes_it_once(api, command, refusal):
    done = command("launch", *WORDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "submitted as TrainJob a in namespace science\n"
    path = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/science/trainjobs"
    assert list(api) == [(path, "a")]
    command_of_pods = api[path, "a"]["spec"]["trainer"]["command"]
    assert command_of_pods == ["torchrun", "-m", "bionemo_ext", "pretrain", *WORDS[4:]]
    code, sentence = refusal("launch", *WORDS)  # which would write to the same folder
    assert (code, "namespace science has a TrainJob a" in sentence) == (1, True), sentence


def test_no_cluster_is_one_sentence(refusal, tmp_path, monkeypatch):
    pytest.importorskip("kubernetes", reason="not part of the lock")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, sentence = refusal("launch", *WORDS)
    assert (code, "no Kubernetes cluster is configured" in sentence) == (1, True), sentence
