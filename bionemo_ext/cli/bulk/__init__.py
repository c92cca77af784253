"""``bionemo-ext bulk``: a FASTA in shards, by processes here, on Kubernetes or on Ray."""

from bionemo_ext.cli.bulk.command import bulk

__all__ = ["bulk"]
