"""What a rendered container runs, as processes of this machine."""

import json
import re
import subprocess
import time
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from rendering import ROOT


def entrypoint(image):
    """Words of the image's ENTRYPOINT after ``bionemo-ext``."""
    text = (ROOT / "docker" / f"{image}.Dockerfile").read_text()
    words = json.loads(re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[-1])
    assert words[0] == "bionemo-ext"
    return words[1:]


def local(words, places):
    """Arguments with the pod's folders and addresses replaced by this machine's."""
    for pod, here in places.items():
        words = [word.replace(pod, str(here)) for word in words]
    return words


def environment(container, secrets=None):
    """The container's variables; ``secrets`` are the entries of each Secret."""
    found = {}
    for source in container.get("envFrom", ()):
        found |= secrets[source["secretRef"]["name"]]
    for one in container.get("env", ()):
        reference = one.get("valueFrom", {}).get("secretKeyRef")
        found[one["name"]] = (
            secrets[reference["name"]][reference["key"]] if reference else one["value"]
        )
    return found


def probe(container, kind, ports):
    """Whether a probe succeeds now, as the kubelet asks: HTTP status 200 to 399."""
    told = container[kind]
    address = f"http://127.0.0.1:{ports[told['httpGet']['port']]}{told['httpGet']['path']}"
    try:
        with urlopen(address, timeout=told.get("timeoutSeconds", 1)) as reply:
            return 200 <= reply.status < 400
    except (HTTPError, URLError, OSError):
        return False


def start_up(container, ports, process):
    """Ask the startup probe as often as it says; fails where the kubelet would kill the pod."""
    told = container["startupProbe"]
    end = time.monotonic() + told["periodSeconds"] * told["failureThreshold"]
    while time.monotonic() < end:
        assert process.poll() is None, process.returncode
        if probe(container, "startupProbe", ports):
            return
        time.sleep(0.2)
    raise AssertionError("the startup probe never succeeded")


def pre_stop(container):
    """Run the preStop command, and give the seconds that it took."""
    began = time.monotonic()
    subprocess.run(container["lifecycle"]["preStop"]["exec"]["command"], check=True)
    return time.monotonic() - began
