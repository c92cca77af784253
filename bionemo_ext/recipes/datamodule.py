"""Batches for a run, in the order that Megatron's sampler asks for them."""

import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
from nemo.lightning.data import WrappedDataLoader
from nemo.lightning.pytorch.plugins import MegatronDataSampler
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from bionemo_ext.data.batches import collate, pack
from bionemo_ext.data.dataset import MaskedDataset


class MegatronData(pl.LightningDataModule):
    """Training and validation samples, in the order of their indices.

    Parameters
    ----------
    train, validation : Dataset
        All samples of all steps; the validation set's length is a multiple of ``global_batch``.
    make_batch : callable
        Makes a micro-batch of a list of samples.
    max_tokens : int
        Tokens of the longest sample.
    micro_batch, global_batch : int
        Samples a forward pass and an optimizer step.
    workers : int
        Processes that prepare samples; 0 prepares them in the training process.
    """

    def __init__(
        self,
        train: Dataset,
        validation: Dataset,
        make_batch: Callable[[Sequence[Any]], dict[str, Tensor]],
        max_tokens: int,
        micro_batch: int,
        global_batch: int,
        workers: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.validation = train, validation
        self.global_batch, self.workers = global_batch, workers
        self.make_batch = partial(_make_batch, make_batch)
        self.data_sampler = MegatronDataSampler(
            seq_len=max_tokens,
            micro_batch_size=micro_batch,
            global_batch_size=global_batch,
            output_log=False,
        )

    def train_dataloader(self) -> DataLoader:
        """Samples from where the run stands: the step says how many were seen."""
        seen = self.trainer.global_step * self.global_batch
        self.data_sampler.init_consumed_samples = seen
        self.data_sampler.init_global_step = self.trainer.global_step
        return self._loader(self.train, "train")

    def val_dataloader(self) -> DataLoader:
        """All validation samples."""
        return self._loader(self.validation, "validation")

    def _loader(self, dataset: Dataset, mode: str) -> DataLoader:
        return WrappedDataLoader(
            mode=mode,
            dataset=dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=self.make_batch,
        )


class PretrainData(MegatronData):
    """Masked samples, packed or padded.

    Parameters
    ----------
    train, validation : MaskedDataset
        The streams.
    micro_batch, global_batch : int
        Sequences a forward pass and an optimizer step.
    packing : bool
        Whether a micro-batch is one row of sequences end to end.
    multiple : int
        What a micro-batch's number of tokens (packed) or width (padded) is a multiple of.
    workers : int
        Processes that prepare samples; 0 prepares them in the training process.
    """

    def __init__(
        self,
        train: MaskedDataset,
        validation: MaskedDataset,
        micro_batch: int,
        global_batch: int,
        packing: bool,
        multiple: int,
        workers: int,
    ) -> None:
        make = partial(
            pack if packing else collate, pad_id=train.store.alphabet.pad_id, multiple=multiple
        )
        tokens = train.max_residues + 2
        super().__init__(train, validation, make, tokens, micro_batch, global_batch, workers)


def _make_batch(
    make: Callable[[Sequence[Any]], dict[str, Tensor]], samples: Sequence[Any]
) -> dict[str, Tensor]:
    if get_worker_info() is not None:
        # torchrun tells a rank's workers to end too, but the rank has steps to do before it saves.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make(samples)
