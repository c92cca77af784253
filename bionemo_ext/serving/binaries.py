"""A tritonserver made ready to run as a process of its own.

Of nvidia-pytriton's wheel only the binaries are used: ``bin/tritonserver``, the Python backend, the
stub that embeds this version of Python, and the libraries beside them. In NVIDIA's container, which
``TRITON_FOLDER`` tells, server, backends and libraries are the container's and only the stub is the
wheel's: the container's own embeds another Python.
"""

import importlib.util
import os
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bionemo_ext.errors import RunError
from bionemo_ext.serving.command import Layout

# Runs a program that receives SIGTERM when the process that started it dies, even by SIGKILL.
# A launcher, because a preexec_fn is not safe in a process that has threads (grpc does).
TIED_TO_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


# Names the folder of an installed Triton, /opt/tritonserver in NVIDIA's container.
TRITON_FOLDER = "BIONEMO_EXT_TRITON"
# Of nvidia-pytriton 0.7.0, the version that pyproject.toml pins; container 24.10 has the same.
_STUB_VERSION = "2.51.0"
_NVIDIA_DRIVER = Path("/dev/nvidiactl")


@dataclass(frozen=True)
class Binaries:
    """Where the server's parts are.

    Parameters
    ----------
    server : Path
        The ``tritonserver`` binary.
    backends : Path
        Folder of its backends.
    caches : Path
        Folder of its response caches.
    stub : Path
        The program that runs a model's Python code.
    libraries : tuple of Path
        Folders of shared libraries of all of these.
    """

    server: Path
    backends: Path
    caches: Path
    stub: Path
    libraries: tuple[Path, ...]

    def make_backends(self, folder: Path) -> None:
        """Lay out a backend directory, where Triton wants backend and stub side by side.

        Other backends, ONNX Runtime's say, are links to where they are.
        """
        for backend in self.backends.iterdir():
            if backend.name != "python":
                (folder / backend.name).symlink_to(backend)
        shutil.copytree(
            self.backends / "python",
            folder / "python",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copy2(self.stub, folder / "python" / self.stub.name)

    def layout(self, backends: Path, shm_prefix: str) -> Layout:
        """Describe the parts as the command line names them."""
        return Layout(self.server, backends, self.caches, shm_prefix, _NVIDIA_DRIVER.exists())

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
        env["LD_LIBRARY_PATH"] = _joined(*self.libraries, env.get("LD_LIBRARY_PATH"), libpython)
        # The stub's Python is isolated: it ignores PYTHONPATH, and takes its prefix, so its
        # site-packages, from the first python3 in PATH.
        env["PATH"] = _joined(Path(sys.prefix) / "bin", env.get("PATH"))
        # oneDNN keeps the kernels of the last 1,024 shapes, and each pass has shapes of its own:
        # they took hundreds of MiB and were never used again. A pass needs a few.
        env.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
        # So does PyTorch for its own calls of oneDNN; in bfloat16 that was 1 MiB a second.
        env.setdefault("LRU_CACHE_CAPACITY", "16")
        # Answers of many MiB pass through many threads, and each arena of glibc keeps what it held.
        env.setdefault("MALLOC_ARENA_MAX", "2")
        # Activations of a pass go back to the system: glibc would raise this bound to 32 MiB, and
        # keep the holes that passes of other lengths leave.
        env.setdefault("MALLOC_MMAP_THRESHOLD_", str(1 << 20))
        if threads is not None:
            env["OMP_NUM_THREADS"] = str(threads)
        return env


def find_binaries() -> Binaries:
    """Look the parts up in this environment.

    Raises
    ------
    RunError
        If nvidia-pytriton is not installed, has no stub for this version of Python, or is of
        another version than the Triton that ``BIONEMO_EXT_TRITON`` names.
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
    stub = root / "python_backend_stubs" / version / "triton_python_backend_stub"
    libraries: tuple[Path, ...] = (package.parent / "nvidia_pytriton.libs",)
    for path in (stub, *libraries):
        if not path.exists():
            raise RunError(f"nvidia-pytriton is installed without {path.name} for Python {version}")
    if installed := os.environ.get(TRITON_FOLDER):
        root = Path(installed)
        libraries = (root / "lib", *libraries)
        _refuse_other_version(root)
    found = Binaries(
        root / "bin" / "tritonserver", root / "backends", root / "caches", stub, libraries
    )
    for path in (found.server, found.backends / "python", found.caches):
        if not path.exists():
            raise RunError(f"the Triton in {root} is not complete: there is no {path}")
    return found


def _refuse_other_version(root: Path) -> None:
    """Backend and stub speak in a way that changes from version to version."""
    told = root / "TRITON_VERSION"
    if not told.is_file():
        raise RunError(f"{root}, which {TRITON_FOLDER} names, is not an installed Triton")
    if (version := told.read_text().strip()) != _STUB_VERSION:
        raise RunError(
            f"{root} is Triton {version}, and the Python worker of nvidia-pytriton is of "
            f"{_STUB_VERSION}; use a container of that version (24.10)"
        )


def _joined(*parts: str | Path | None) -> str:
    return os.pathsep.join(str(part) for part in parts if part)
