"""Submit a checked launch through NeMo-Run, or show what would be submitted."""

import os
import platform
import re
import shlex
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil
import yaml

from bionemo_ext.errors import RunError
from bionemo_ext.recipes import cluster as places
from bionemo_ext.recipes import executors, preflight
from bionemo_ext.recipes.launching import Launch, is_published
from bionemo_ext.recipes.trainjob import create, trainjob

if TYPE_CHECKING:
    from nemo_run.run.experiment import Experiment

# Keys whose values are paths.
_PATHS = ("out", "data.train", "data.validation", "init")


def dry_run(launch: Launch) -> str:
    """Show what would be submitted: a batch script, a manifest or a command.

    Nothing is contacted, and nothing stays on the disk.
    """
    kind = launch.cluster.executor
    with tempfile.TemporaryDirectory() as folder:
        _prepare_nemo_run(Path(folder))
        if kind is places.Kind.KUBEFLOW:
            return yaml.safe_dump(_trainjob(launch), sort_keys=False)
        experiment = _experiment(launch, Path(folder), identity="dry-run")
        with experiment:
            experiment.dryrun(log=False, delete_exp_dir=False)
        if kind is places.Kind.LOCAL:
            return shlex.join(_local_command(experiment)) + "\n"
        script = next(Path(folder).rglob("*_sbatch.sh")).read_text()
        return _for_hands(script).replace(folder, str(launch.home)) + "\n"


def submit(launch: Launch) -> str:
    """Submit, or run here and wait.

    Returns
    -------
    str
        A sentence on what was started.

    Raises
    ------
    DataError, CheckpointError
        If the data of a job in this environment, or what it begins from, are not there.
    RunError
        If the cluster does not take it, or the run on this machine fails.
    """
    slurm = launch.cluster.executor is places.Kind.SLURM
    if slurm and not launch.cluster.image:
        # The job has this environment, and the nodes' files are a login node's.
        preflight.check_sources(launch.run, Path(launch.cluster.base))
    _prepare_nemo_run(launch.home)
    if launch.cluster.executor is places.Kind.KUBEFLOW:
        return _submit_kubeflow(launch)
    # Several nodes may be started in one second and share the folder.
    identity = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{platform.node()}-{os.getpid()}"
    experiment = _experiment(launch, launch.home, identity=identity)
    local = launch.cluster.executor is places.Kind.LOCAL
    if local:
        signal.signal(signal.SIGTERM, _tell_ranks)
        signal.signal(signal.SIGINT, _tell_ranks)
    try:
        with experiment:
            experiment.run(detach=not local, tail_logs=local)
    except Exception as error:
        raise RunError(f"NeMo-Run could not submit the run: {_reason(error)}") from None
    job = experiment.jobs[0]
    logs = job.executor.job_dir
    if not local:
        number = job.handle.rpartition("/")[2]
        return f"submitted as Slurm job {number}; script and logs: {logs}"
    if job.state.name != "SUCCEEDED":
        raise RunError(f"the run ended as {job.state.name.lower()}; logs: {logs}")
    return f"done; logs: {logs}"


def _tell_ranks(number: int, frame: FrameType | None) -> None:
    """Tell the ranks, torchrun's children, to save and end; torchrun would kill them in a while."""
    for agent in psutil.Process().children():
        for rank in agent.children():
            rank.terminate()


def _for_hands(script: str) -> str:
    """Say in the script what `launch` would have made before submitting it: the folder of its logs.

    Slurm fails a job whose log it cannot write, and says nothing.
    """
    folder = re.search(r"^#SBATCH --output=(.*)/", script, re.MULTILINE)[1]
    told = "# Run with: "
    return script.replace(told, f"{told}mkdir -p {folder}/code && ", 1)


def _submit_kubeflow(launch: Launch) -> str:
    try:
        create(_trainjob(launch))
    except RunError:
        raise
    except Exception as error:
        raise RunError(f"the cluster did not take the TrainJob: {_reason(error)}") from None
    return f"submitted as TrainJob {launch.name} in namespace {launch.cluster.namespace}"


def _trainjob(launch: Launch) -> dict[str, Any]:
    """The manifest; torchrun reads its place from the PET_ variables that Trainer sets."""
    command = ["torchrun", "-m", "bionemo_ext", *_arguments(launch)]
    return trainjob(launch.name, command, launch.cluster, launch.run)


def _prepare_nemo_run(home: Path) -> None:
    """Have NeMo-Run keep everything in ``home`` and say nothing; before it is imported."""
    os.environ["NEMORUN_HOME"] = str(home)
    from nemo_run.core.frontend.console.api import CONSOLE

    CONSOLE.quiet = True


def _experiment(launch: Launch, home: Path, *, identity: str) -> "Experiment":
    from nemo_run.config import Script
    from nemo_run.run.experiment import Experiment

    executor_of = {
        places.Kind.LOCAL: executors.local_executor,
        places.Kind.SLURM: executors.slurm_executor,
    }[launch.cluster.executor]
    experiment = Experiment(
        launch.name,
        id=f"{launch.name}_{identity}",
        base_dir=str(home),
        log_level="ERROR",
        clean_mode=True,
        enable_goodbye_message=False,
        skip_status_at_exit=True,
    )
    task = Script(path="bionemo_ext", args=_arguments(launch), entrypoint="python", m=True)
    with experiment:
        experiment.add(task, executor=executor_of(launch.cluster, launch.run), name=launch.name)
    return experiment


def _arguments(launch: Launch) -> list[str]:
    """Words of the command; on Slurm, which runs it elsewhere, with relative paths made whole."""
    if launch.cluster.executor is not places.Kind.SLURM:
        return ["pretrain", *launch.words]
    base = Path(launch.cluster.base)
    given = (word.partition("=")[::2] for word in launch.words)
    paths = ((key, value) for key, value in given if key in _PATHS and not is_published(value))
    whole = [f"{key}={base / value}" for key, value in paths if value]
    return ["pretrain", *launch.words, *(word for word in whole if word not in launch.words)]


def _local_command(experiment: "Experiment") -> list[str]:
    """The command that NeMo-Run starts here, with its variables and the place of torchrun."""
    job = experiment.jobs[0]
    role, env = job._executable.roles[0], job.executor.env_vars
    words = [f"{name}={value}" for name, value in env.items() if name != "PATH"]
    torchrun = Path(sys.executable).with_name(role.entrypoint)
    return ["env", *words, str(torchrun), *role.args]


def _reason(error: Any) -> str:
    """One line: a program's last complaint, a cluster's answer, or the error's own first line."""
    if (result := getattr(error, "result", None)) is not None:
        lines = result.stderr.strip().splitlines()[-1:]
    elif body := getattr(error, "body", None):
        lines = [str(yaml.safe_load(body).get("message", body))]
    else:
        lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
