"""Jobs that may be stopped at any moment, and go on."""

from bionemo_ext.client.jobs.job import BulkJob

__all__ = ["BulkJob"]
