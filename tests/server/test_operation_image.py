"""The image runs what ``bionemo-ext serve`` runs, on a Triton laid out as in NVIDIA's container."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from operating import Serving, connect, echo_repository, say

from bionemo_ext.errors import RunError
from bionemo_ext.serving import LocalServer
from bionemo_ext.serving.binaries import TRITON_FOLDER, find_binaries

pytestmark = pytest.mark.server

DOCKERFILE = Path(__file__).parents[2] / "docker" / "serving.Dockerfile"


def instructions():
    """Instructions of the last stage: name and words."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    last = text[text.rindex("\nFROM ") :]
    return [line.split(maxsplit=1) for line in last.splitlines() if re.match(r"[A-Z]+ ", line)]


def words(name):
    return json.loads(next(words for found, words in instructions() if found == name))


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A folder like /opt/tritonserver of container 24.10, of the wheel's parts."""
    wheel = find_binaries()
    folder = tmp_path / "tritonserver"
    folder.mkdir()
    for name, part in (
        ("bin", wheel.server.parent),
        ("backends", wheel.backends),
        ("caches", wheel.caches),
        ("lib", wheel.libraries[0]),
    ):
        (folder / name).symlink_to(part)
    (folder / "TRITON_VERSION").write_text("2.51.0\n")
    monkeypatch.setenv(TRITON_FOLDER, str(folder))
    return folder


def test_the_image_serves_with_the_command_that_serve_prints(container, tmp_path):
    entrypoint, (models, *options) = words("ENTRYPOINT"), words("CMD")
    assert entrypoint == ["bionemo-ext", "serve"]
    assert models == "/models/triton"
    repository = echo_repository(tmp_path / "repository")
    with Serving(repository, *options) as serving, connect(serving.url) as client:
        assert say(client, "MKTV") == "MKTV"
        (server,) = map(
            int, Path(f"/proc/{serving.process.pid}/task/{serving.process.pid}/children")
            .read_text().split(),
        )  # fmt: skip
        running = Path(f"/proc/{server}/cmdline").read_text().strip("\0").split("\0")
    printed = subprocess.run(
        [Path(sys.executable).parent / entrypoint[0], *entrypoint[1:], repository, *options,
         "--print-command"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert printed[0] == running[0] == str(container / "bin" / "tritonserver")
    assert "--grpc-address=0.0.0.0" in running

    def bare(command):
        """What does not differ from server to server: folders drawn anew, ports and keys."""
        drawn = r"(--(backend-directory|backend-config|(grpc|http|metrics)-port)=|.*admin-key=).*"
        return [re.sub(drawn, r"\1", word) for word in command]

    assert bare(printed) == bare(running)


def test_the_image_is_not_run_by_root_and_says_how_it_is():
    found = dict(instructions())
    assert re.fullmatch(r"[1-9]\d+", found["USER"])
    assert "/v2/health/ready" in found["HEALTHCHECK"]
    text = DOCKERFILE.read_text()
    images = re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.MULTILINE)
    assert images
    assert all(re.search(r":\d[\w.-]+$|@sha256:[0-9a-f]{64}$", image) for image in images)
    for sources in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE):
        assert all((DOCKERFILE.parents[1] / source).exists() for source in sources.split())


@pytest.mark.parametrize(
    ("version", "sentence"),
    [("2.62.0", "is Triton 2.62.0, and the Python worker"), (None, "is not an installed Triton")],
)
def test_a_triton_of_another_version_is_refused(container, tmp_path, version, sentence):
    told = container / "TRITON_VERSION"
    told.unlink() if version is None else told.write_text(version)
    with pytest.raises(RunError, match=re.escape(sentence)):
        LocalServer(echo_repository(tmp_path / "repository")).start()
