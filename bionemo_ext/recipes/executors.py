"""NeMo-Run's executors for a machine and for Slurm, both with one torchrun a node.

NeMo-Run is imported inside functions: it reads ``NEMORUN_HOME`` when it is imported, which
:mod:`bionemo_ext.recipes.submit` sets first.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bionemo_ext.recipes.cluster import LocalSettings, SlurmSettings, environment
from bionemo_ext.recipes.settings import PretrainSettings

if TYPE_CHECKING:
    from nemo_run.core.execution.local import LocalExecutor
    from nemo_run.core.execution.slurm import SlurmExecutor

_PORT = 29500
# torchrun tells of its own doings otherwise.
_QUIET = {"LOGLEVEL": "WARNING"}


def local_executor(cluster: LocalSettings, run: PretrainSettings) -> LocalExecutor:
    """The machine that launch runs on; its ranks meet those of other nodes at ``rendezvous``."""
    from nemo_run.core.execution.launcher import Torchrun
    from nemo_run.core.execution.local import LocalExecutor

    if cluster.rendezvous:
        host, _, port = cluster.rendezvous.rpartition(":")
        # NeMo-Run asks the environment for the place. The nodes agree on their ranks themselves.
        os.environ.update(MASTER_ADDR=host, MASTER_PORT=port, NODE_RANK="0")
    # torchrun is that of the Python that runs this.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    ranks = run.parallel.devices
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // ranks)))
    return LocalExecutor(
        nodes=run.parallel.nodes,
        ntasks_per_node=ranks,
        launcher=Torchrun(rdzv_id=_PORT),
        env_vars={"PATH": path, "OMP_NUM_THREADS": threads, **_QUIET, **environment(cluster, run)},
    )


def slurm_executor(cluster: SlurmSettings, run: PretrainSettings) -> SlurmExecutor:
    """A Slurm cluster."""
    from nemo_run.core.execution.launcher import Torchrun
    from nemo_run.core.execution.slurm import SlurmExecutor
    from nemo_run.core.packaging.base import Packager

    parallel, workdir = run.parallel, cluster.base
    env = environment(cluster, run)
    own = (
        None
        if cluster.image
        else f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    )
    lines = (_FIRST_ADDRESS, own, _exports(env), _once_more(workdir, run.out), cluster.setup)
    # One task a node has all that the job has of it: its ranks and their workers share the cores.
    srun = ["--cpu-bind=none"]
    if cluster.cpus_per_task:
        srun += [f"--cpus-per-task={cluster.cpus_per_task}"]  # srun does not inherit sbatch's
    if cluster.image:
        srun += ["--no-container-mount-home"]
    return SlurmExecutor(
        account=cluster.account,
        job_name_prefix="bionemo-ext.",
        partition=cluster.partition,
        qos=cluster.qos,
        time=cluster.time,
        constraint=cluster.constraint,
        exclusive=cluster.exclusive or None,
        mem=cluster.memory,
        cpus_per_task=cluster.cpus_per_task,
        nodes=parallel.nodes,
        ntasks_per_node=1,
        gpus_per_node=parallel.devices,
        torchrun_nproc_per_node=parallel.devices,
        signal=f"TERM@{cluster.warn_seconds}",
        retries=cluster.requeues,
        container_image=cluster.image,
        container_mounts=list(dict.fromkeys([*cluster.mounts, f"{workdir}:{workdir}"])),
        env_vars=dict(_QUIET),
        container_env=list(env),  # before what the image says
        srun_args=srun,
        setup_lines="\n".join(filter(None, lines)),
        additional_parameters={"requeue": True, **cluster.flags},
        launcher=Torchrun(rdzv_port=_PORT, rdzv_id=_PORT),
        poll_estimated_start_time=False,
        packager=Packager(),  # the code is in the image or the environment
    )


# `hostname --ip-address` gives all of a node's addresses, and torchrun takes one.
_FIRST_ADDRESS = "head_node_ip=${head_node_ip%% *}"


def _exports(env: Mapping[str, str]) -> str:
    """Lines that set variables as they stand; NeMo-Run's would capitalise and not quote them."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in env.items())


def _once_more(workdir: str, out: str) -> str:
    """Lines by which a job is queued again only if it has left a newer checkpoint than it found.

    NeMo-Run's script queues a job again whenever its command fails, also for a mistake that would
    fail again; the command of a run that was told to end fails too, having saved.
    """
    folder = shlex.quote(str(Path(workdir, out, "checkpoints")))
    return f"""\
newest() {{ ls {folder} 2>/dev/null | grep -x 'step-[0-9]*' | tail -n 1; }}
srun() {{
  local before code; before=$(newest)
  command srun "$@"; code=$?
  [ "$(newest)" != "$before" ] || TORCHX_MAX_RETRIES=0
  return $code
}}"""
