"""The tritonserver of nvidia-pytriton's wheel, made ready to run as a process of its own.

Of the wheel only its binaries are used: ``bin/tritonserver``, the Python backend, the stub that
embeds this version of Python, and the libraries beside them.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bionemo_ext.errors import RunError

# Runs a program that receives SIGTERM when the process that started it dies, even by SIGKILL.
# A launcher, because a preexec_fn is not safe in a process that has threads (grpc does).
TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class Binaries:
    """Where the server's parts are.

    Parameters
    ----------
    server : Path
        The ``tritonserver`` binary.
    backend : Path
        Folder of the Python backend.
    stub : Path
        The program that runs a model's Python code.
    libraries : Path
        Shared libraries of all three.
    """

    server: Path
    backend: Path
    stub: Path
    libraries: Path

    def make_backends(self, folder: Path) -> None:
        """Lay out a backend directory, where Triton wants backend and stub side by side."""
        shutil.copytree(
            self.backend, folder / "python", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy2(self.stub, folder / "python" / self.stub.name)

    def environment(self, threads: int | None) -> dict[str, str]:
        """Set what lets server and stubs find their libraries and this Python's packages.

        Parameters
        ----------
        threads : int, optional
            Threads of a model process; as many as there are cores when not given.
        """
        env = dict(os.environ)
        # A Python built with a shared library outside the loader's own folders, as pyenv's may be.
        libpython = sysconfig.get_config_var("LIBDIR") or ""
        env["LD_LIBRARY_PATH"] = _joined(self.libraries, env.get("LD_LIBRARY_PATH"), libpython)
        # The stub's Python is isolated: it ignores PYTHONPATH, and takes its prefix, so its
        # site-packages, from the first python3 in PATH.
        env["PATH"] = _joined(Path(sys.prefix) / "bin", env.get("PATH"))
        if threads is not None:
            env["OMP_NUM_THREADS"] = str(threads)
        return env


def find_binaries() -> Binaries:
    """Look the parts up in this environment.

    Raises
    ------
    RunError
        If nvidia-pytriton is not installed, or has no stub for this version of Python.
    """
    # pytriton itself is not imported: it is heavy and sets up logging.
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise RunError(
            "no tritonserver here: install the extra with pip install 'bionemo-ext[serve]'"
        )
    package = Path(spec.origin).parent
    root = package / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = Binaries(
        root / "bin" / "tritonserver",
        root / "backends" / "python",
        root / "python_backend_stubs" / version / "triton_python_backend_stub",
        package.parent / "nvidia_pytriton.libs",
    )
    for path in (found.server, found.backend, found.stub, found.libraries):
        if not path.exists():
            raise RunError(f"nvidia-pytriton is installed without {path.name} for Python {version}")
    return found


def _joined(*parts: str | Path | None) -> str:
    return os.pathsep.join(str(part) for part in parts if part)
