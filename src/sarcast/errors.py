"""What a caller can put right: one line saying what was expected, what was found, and where."""

from __future__ import annotations


class SarcastError(Exception):
    """Anything the caller can put right. The command line prints it as one line and exits with 2."""


class ProductError(SarcastError):
    """A SAR product cannot be read as what it claims to be; names the file and the field."""


class ShapeError(SarcastError):
    """An array or grid does not have the shape, order or range it must have."""


class SettingsError(SarcastError):
    """A setting, recipe or flag is unknown or out of range."""


class StackError(SarcastError):
    """Scenes that do not belong together, or a stack that cannot be built."""


class ArtefactError(SarcastError):
    """A file written by an earlier step is missing, unfinished or altered."""


class SpaceError(SarcastError):
    """The place written to is full, read-only or already in use."""


class DataError(SarcastError):
    """The data do not allow what was asked: too few dates, nothing valid, nothing to judge."""
