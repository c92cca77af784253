"""Launch a pretraining run on a cluster through NeMo-Run, or show what would be submitted."""

import os
import re
import shlex
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from types import FrameType
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from omegaconf import OmegaConf

from bionemo_ext.errors import ConfigError, RunError
from bionemo_ext.recipes import cluster as places
from bionemo_ext.recipes import preflight
from bionemo_ext.recipes.config import compose
from bionemo_ext.recipes.settings import PretrainSettings
from bionemo_ext.resources import resource

if TYPE_CHECKING:
    from nemo_run.run.experiment import Experiment

# Keys whose values are paths.
_PATHS = ("out", "data.train", "data.validation", "init")
# What NeMo-Run's batch script writes without quotes.
_PLAIN_PATH = re.compile(r"[\w./+=@:,~-]+")


@dataclass(frozen=True)
class Launch:
    """A checked launch.

    Parameters
    ----------
    cluster : LocalSettings, SlurmSettings or KubeflowSettings
        Where.
    run : PretrainSettings
        What.
    words : tuple of str
        The words that ``bionemo-ext pretrain`` is given.
    """

    cluster: Any
    run: PretrainSettings
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """Of the job: that of the run's folder, as every cluster takes it."""
        return re.sub(r"[^a-z0-9]+", "-", Path(self.run.out).name.lower()).strip("-") or "run"

    @property
    def home(self) -> Path:
        """Where NeMo-Run keeps its scripts and logs: beside the run's folder."""
        out = Path(self.run.out).absolute()
        return out.with_name(f"{out.name}.launch")


def read(words: Sequence[str]) -> Launch:
    """Compose and check a launch.

    Parameters
    ----------
    words : sequence of str
        ``cluster=`` and ``cluster.key=value``, and those of ``pretrain``.

    Raises
    ------
    ConfigError
        As :func:`bionemo_ext.recipes.config.compose`, and for what does not go together.
    """
    own = [word for word in words if re.match(r"cluster[.=]", word)]
    run_words = [word for word in words if word not in own]
    cluster = compose("launch", own, _schema(own)).cluster
    run = compose("pretrain", run_words, PretrainSettings)
    preflight.check_ranks(run, launched=True)
    if cluster.executor is places.Kind.LOCAL:
        _check_local(run)
    if cluster.executor is places.Kind.KUBEFLOW:
        _check_volumes(cluster, run)
    launch = Launch(cluster, run, tuple(run_words))
    if cluster.executor is places.Kind.SLURM and not _PLAIN_PATH.fullmatch(str(launch.home)):
        raise ConfigError(
            f"out is {run.out}, but for Slurm a path of letters, digits and ./_- is needed"
        )
    return launch


def _schema(words: Sequence[str]) -> type:
    """Find the schema of the executor that the chosen file names; an unknown file fails later."""
    chosen = [word.partition("=")[2] for word in words if word.startswith("cluster=")]
    path = resource("conf") / "cluster" / f"{chosen[-1] if chosen else 'local'}.yaml"
    if not path.is_file():
        return places.LocalLaunch
    kind = OmegaConf.load(path).get("executor")
    if kind not in places.LAUNCHES:
        known = ", ".join(kind.value for kind in places.Kind)
        raise ConfigError(f"{path.name}: executor is {kind!r}, but one of {known} is needed")
    return places.LAUNCHES[kind]


def _check_local(run: PretrainSettings) -> None:
    if run.parallel.nodes > 1:
        raise ConfigError(
            f"parallel.nodes is {run.parallel.nodes}, but cluster=local is one node; choose "
            "cluster=slurm or cluster=kubeflow, or parallel.nodes=1"
        )
    preflight.check(run, launched=True)


def _check_volumes(cluster: places.KubeflowSettings, run: PretrainSettings) -> None:
    paths = {"out": run.out, "data.train": run.data.train, "data.validation": run.data.validation}
    for key, path in paths.items():
        parents = [str(parent) for parent in PurePosixPath(path or "").parents]
        if path and not any(volume.rstrip("/") in parents for volume in cluster.volumes):
            raise ConfigError(
                f"{key} is {path}, but a path below a volume is needed, as "
                "cluster.volumes='{/data: name-of-a-claim}'"
            )


def dry_run(launch: Launch) -> str:
    """Show what would be submitted: a batch script, a manifest or a command.

    Nothing is contacted, and nothing stays on the disk.
    """
    kind = launch.cluster.executor
    with tempfile.TemporaryDirectory() as folder:
        _prepare_nemo_run(Path(folder))
        if kind is places.Kind.KUBEFLOW:
            executor = places.kubeflow_executor(launch.cluster, launch.run.parallel, offline=True)
            body = executor.get_job_body(launch.name, _kubeflow_command(launch))
            return yaml.safe_dump(body, sort_keys=False)
        experiment = _experiment(launch, Path(folder), identity="dry-run")
        with experiment:
            experiment.dryrun(log=False, delete_exp_dir=False)
        if kind is places.Kind.LOCAL:
            return shlex.join(_local_command(experiment)) + "\n"
        script = next(Path(folder).rglob("*_sbatch.sh")).read_text()
        return script.replace(folder, str(launch.home))


def submit(launch: Launch) -> str:
    """Submit, or run here and wait.

    Returns
    -------
    str
        A sentence on what was started.

    Raises
    ------
    RunError
        If the cluster does not take it, or the run on this machine fails.
    """
    _prepare_nemo_run(launch.home)
    if launch.cluster.executor is places.Kind.KUBEFLOW:
        return _submit_kubeflow(launch)
    experiment = _experiment(launch, launch.home, identity=f"{datetime.now(UTC):%Y%m%d-%H%M%S}")
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


def _submit_kubeflow(launch: Launch) -> str:
    executor = places.kubeflow_executor(launch.cluster, launch.run.parallel, offline=False)
    try:
        name, _ = executor.launch(launch.name, _kubeflow_command(launch))
    except Exception as error:
        raise RunError(f"the cluster did not take the TrainJob: {_reason(error)}") from None
    return f"submitted as TrainJob {name} in namespace {launch.cluster.namespace}"


def _prepare_nemo_run(home: Path) -> None:
    """Have NeMo-Run keep everything in ``home`` and say nothing; before it is imported."""
    os.environ["NEMORUN_HOME"] = str(home)
    from nemo_run.core.frontend.console.api import CONSOLE

    CONSOLE.quiet = True


def _experiment(launch: Launch, home: Path, *, identity: str) -> "Experiment":
    from nemo_run.config import Script
    from nemo_run.run.experiment import Experiment

    executor_of = {
        places.Kind.LOCAL: places.local_executor,
        places.Kind.SLURM: places.slurm_executor,
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
    whole = [f"{key}={base / value}" for key, value in given if key in _PATHS and value]
    return ["pretrain", *launch.words, *(word for word in whole if word not in launch.words)]


def _kubeflow_command(launch: Launch) -> list[str]:
    """Command of every pod; torchrun reads its place from the PET_ variables that Trainer sets."""
    return ["torchrun", "-m", "bionemo_ext", *_arguments(launch)]


def _local_command(experiment: "Experiment") -> list[str]:
    role = experiment.jobs[0]._executable.roles[0]
    return [role.entrypoint, *role.args]


def _reason(error: Any) -> str:
    """One line: a program's last complaint, a cluster's answer, or the error's own first line."""
    if (result := getattr(error, "result", None)) is not None:
        lines = result.stderr.strip().splitlines()[-1:]
    elif body := getattr(error, "body", None):
        lines = [str(yaml.safe_load(body).get("message", body))]
    else:
        lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
