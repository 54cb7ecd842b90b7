"""What can go wrong through no fault of the program; each kind has its exit code.

Code raises these; only the command line catches them (`ocrcc.cli`). A bug is anything else, and keeps its
traceback.
"""

from __future__ import annotations


class OcrccError(Exception):
    """A failure that its message explains and its hint helps to mend.

    Args:
        message: What is wrong, with the file and line where there is one.
        hint: What to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SomeInputsFailedError(OcrccError):
    """The work was done, but some of the inputs could not be used."""

    exit_code = 1


class ConfigError(OcrccError):
    """An option, a configuration file or a combination of them makes no sense."""

    exit_code = 2


class DataError(OcrccError):
    """A dataset, a label file or an image cannot be used."""

    exit_code = 3


class CharsetError(DataError):
    """A charset is malformed, or lacks characters that the data has."""


class ModelError(OcrccError):
    """A model file is missing, damaged, or does not fit what is asked of it."""

    exit_code = 4


class StoppedError(OcrccError):
    """The user or the system asked to stop; what was done so far is saved."""

    exit_code = 130


class OcrccWarning(UserWarning):
    """Something was passed over, counted and named; the rest is used."""
