"""The command itself, before it is any of its commands."""

import os
import signal
import subprocess
import sys


def test_ctrl_c_while_it_is_imported_is_one_sentence(tmp_path):
    # Takes the place of a library that the command line imports.
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", "bionemo_ext", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGINT, "")
    assert done.stderr == "bionemo-ext: interrupted\n"
