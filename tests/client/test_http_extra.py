"""Without the extra ``http`` gRPC works, and an http:// address is one sentence."""

import subprocess
import sys

CODE = """
import sys
sys.modules["{missing}"] = None
from bionemo_ext.client import Client
Client("grpc://127.0.0.1:1").close()
try:
    Client("grpc://127.0.0.1:1,http://127.0.0.1:1")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_what_is_missing_is_said():
    for missing in ("aiohttp", "geventhttpclient"):
        code = CODE.format(missing=missing)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "RunError http:// addresses need aiohttp and geventhttpclient, which are not "
            "installed: pip install 'bionemo-ext[http]'; grpc:// needs neither\n"
        )
