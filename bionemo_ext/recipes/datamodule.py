"""Batches for a pretraining run, in the order that Megatron's sampler asks for them."""

import signal
from collections.abc import Callable, Sequence
from functools import partial

import lightning.pytorch as pl
from nemo.lightning.data import WrappedDataLoader
from nemo.lightning.pytorch.plugins import MegatronDataSampler
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from bionemo_ext.data.batches import collate, pack
from bionemo_ext.data.dataset import MaskedDataset, Sample


class PretrainData(pl.LightningDataModule):
    """Training and validation samples.

    Parameters
    ----------
    train, validation : MaskedDataset
        The streams; the validation set's length is a multiple of ``global_batch``.
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
        super().__init__()
        self.train, self.validation = train, validation
        self.global_batch, self.workers = global_batch, workers
        self.make_batch = partial(
            _make_batch,
            pack if packing else collate,
            pad_id=train.store.alphabet.pad_id,
            multiple=multiple,
        )
        self.data_sampler = MegatronDataSampler(
            seq_len=train.max_residues + 2,
            micro_batch_size=micro_batch,
            global_batch_size=global_batch,
            output_log=False,
        )

    def train_dataloader(self) -> DataLoader[Sample]:
        """Samples from where the run stands: the step says how many were seen."""
        seen = self.trainer.global_step * self.global_batch
        self.data_sampler.init_consumed_samples = seen
        self.data_sampler.init_global_step = self.trainer.global_step
        return self._loader(self.train, "train")

    def val_dataloader(self) -> DataLoader[Sample]:
        """All validation samples."""
        return self._loader(self.validation, "validation")

    def _loader(self, dataset: MaskedDataset, mode: str) -> DataLoader[Sample]:
        return WrappedDataLoader(
            mode=mode,
            dataset=dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            collate_fn=self.make_batch,
        )


def _make_batch(
    make: Callable[..., dict[str, Tensor]], samples: Sequence[Sample], **options: int
) -> dict[str, Tensor]:
    if get_worker_info() is not None:
        # torchrun tells a rank's workers to end too, but the rank has steps to do before it saves.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return make(samples, **options)
