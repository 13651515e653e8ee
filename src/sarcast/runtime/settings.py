"""A setting is written once: a field of a frozen model is YAML key, flag, default and help."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from sarcast.errors import SettingsError

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings model: frozen, unknown keys refused, docstrings under fields are their help."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True
    )


def build(model: type[S], values: dict[str, Any], *, where: str) -> S:
    """`model` from plain values; a bad one raises `SettingsError` naming the field and `where`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(explain(error, where)) from None


def explain(error: ValidationError, where: str) -> str:
    """The first problem of a pydantic error as one line."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    if first["type"] == "extra_forbidden":
        return f"unknown setting {name!r} in {where}"
    return f"setting {name!r}: {first['msg'].lower()}, found {first.get('input')!r}, in {where}"


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping; anything else raises `SettingsError`."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"expected a readable recipe, found {error.strerror}: {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"expected YAML in {path}, found {str(error).splitlines()[0]}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise SettingsError(f"expected a mapping of settings in {path}, found {type(found).__name__}")
    return found


def as_json(settings: BaseModel) -> dict[str, Any]:
    """Plain JSON values with every default filled in."""
    return settings.model_dump(mode="json")
