"""The HTTP service that ESM-2 callers know, and a page to look at one protein."""

from bionemo_ext.gateway.app import create_app
from bionemo_ext.gateway.settings import Settings

__all__ = ["Settings", "create_app"]
