"""The processes that run the models' Python code, as Linux tells of them.

Triton itself does not: since 2.47 it neither starts a dead worker again nor calls itself unready
(triton-inference-server/server issue 8604).
"""

from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Worker:
    """One worker.

    Parameters
    ----------
    pid : int
        Its process id.
    model : str
        The instance of a model that it runs, for example ``esm2_embed_0_0``.
    """

    pid: int
    model: str

    @property
    def exists(self) -> bool:
        """Whether Linux knows it: Triton waits for one that it ended itself."""
        return bool(_state_and_parent(self.pid)[0])

    @property
    def alive(self) -> bool:
        """Whether it runs: neither stopped, nor ended and not waited for."""
        return _state_and_parent(self.pid)[0] not in ("", "Z", "X", "T", "t")


def workers_of(server_pid: int) -> list[Worker]:
    """List the workers of a tritonserver."""
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and _state_and_parent(int(folder.name))[1] == server_pid:
            words = _command(folder)
            if words and words[0].endswith(_STUB):
                found.append(Worker(int(folder.name), _model(words)))
    return sorted(found, key=lambda worker: worker.model)


def _state_and_parent(pid: int) -> tuple[str, int]:
    """Letter of the state and parent's id; an empty letter where there is no such process."""
    try:
        # The name of the program, in brackets, may hold anything.
        words = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0
    return words[0], int(words[1])


def _command(folder: Path) -> list[str]:
    try:
        return (folder / "cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return []


def _model(words: list[str]) -> str:
    """Take the instance's name from the words that Triton starts a worker with."""
    # stub model.py region sizes parent backends offset NAME ...
    return words[8] if len(words) > 8 else "of unknown model"
