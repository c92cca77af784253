"""The process that holds the device and goes through the cases."""

import time
import traceback
from types import ModuleType

import torch

from benchmarks.gpu import fp8_steps, inference, parity, pretrain, train
from benchmarks.gpu.hugging import MissingError
from benchmarks.gpu.machine import describe, free, open_device
from benchmarks.gpu.options import SHARES, Case, Options
from benchmarks.gpu.results import BEGUN, DETAILS, DONE, FAILED, MACHINE, Results
from benchmarks.gpu.supervisor import BEGIN_AGAIN
from bionemo_ext.errors import BionemoExtError

_PARTS: dict[str, ModuleType] = {
    "parity": parity,
    "train": train,
    "inference": inference,
    "fp8_steps": fp8_steps,
    "pretrain": pretrain,
}


def work(options: Options, spent: dict[str, float]) -> int:
    """Run what has no result yet; what fails is recorded, and not tried again.

    Parameters
    ----------
    options : Options
        What to run.
    spent : dict
        Seconds that earlier processes of this call took for each part.

    Returns
    -------
    int
        0, or ``BEGIN_AGAIN`` when a fresh process should go on.
    """
    results = Results(options.out, options.mirror)
    device = open_device(options.device)
    results.write("machine", MACHINE, **describe(device))
    began_call = options.deadline - 60 * options.minutes
    since = began_call if options.again else 0.0
    ended, failed = results.ended(since), results.failed(since)
    for part in options.parts:
        limit = SHARES[part] * 60 * options.minutes
        began = time.time() - spent.get(part, 0.0)
        for case in _PARTS[part].cases(options, device, results):
            now = time.time()
            # Pretraining goes on in every call.
            if case.key in (failed if part == "pretrain" else ended):
                continue
            if now > options.deadline or now - began > limit:
                break
            if not _run(case, results, device):
                return BEGIN_AGAIN
    return 0


def _run(case: Case, results: Results, device: torch.device) -> bool:
    """Whether the process can go on."""
    results.write(case.key, BEGUN)
    began = time.monotonic()
    try:
        figures = case.run()
    except (MissingError, BionemoExtError) as error:  # said before anything ran on the device
        results.write(case.key, FAILED, reason=str(error))
        return True
    except torch.OutOfMemoryError:
        results.write(case.key, FAILED, reason="out of memory")
    except Exception as error:
        results.append_text(DETAILS, f"{case.key}\n{traceback.format_exc()}\n")
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        results.write(case.key, FAILED, reason=reason)
        return False
    else:
        results.write(case.key, DONE, **figures, case_s=round(time.monotonic() - began, 1))
    free(device)
    return True
