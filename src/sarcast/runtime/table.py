"""A plug-in table: name -> "module:Class", imported when asked for, so a name costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from sarcast.errors import SettingsError


class Table(Mapping[str, Any]):
    """A read-only mapping whose values are imported on first use."""

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            raise SettingsError(f"expected {self.what} in {', '.join(self._entries)}, found {name!r}")
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a name; nothing is imported."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def table(what: str, /, **entries: str) -> Table:
    """A `Table` of `what` from name="module:Class" pairs."""
    return Table(what, entries)
