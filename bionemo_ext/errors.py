"""One family of errors: a user reads a sentence, a program catches a class.

The command line prints the sentence and exits with ``exit_code``: 2 when the input is wrong
and the caller can mend it, 1 when the run itself failed.
"""


class BionemoExtError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(BionemoExtError):
    """The caller gave something that cannot be used; the message says what would be right."""

    exit_code = 2


class SequenceError(InputError):
    """A sequence that breaks the policy of :mod:`bionemo_ext.sequences.policy`."""


class FastaError(InputError):
    """A FASTA file that cannot be read."""


class ConfigError(InputError):
    """A configuration with an unknown key, a wrong type or an impossible value."""


class DataError(InputError):
    """A data set or label file that cannot be used."""


class CheckpointError(InputError):
    """A model folder or checkpoint that is missing, incomplete or of another shape."""


class RunError(BionemoExtError):
    """A run that could not start or did not finish."""


class ServerError(RunError):
    """The server could not be reached or failed while answering."""


class UnavailableError(ServerError):
    """Nobody answers at the address, or the server takes no requests."""


class BusyError(UnavailableError):
    """The server's queue is full; the same request may succeed in a moment."""


class DeadlineError(ServerError):
    """The answer did not come within the given time."""


class RequestError(InputError):
    """The server refused a request because its content is wrong."""


class NotFoundError(InputError):
    """The server has no endpoint of that name."""
