"""A scene as plain JSON and back, exactly: nanoseconds, NaN and all; unknown or wrong fields are refused."""

from __future__ import annotations

import math
from dataclasses import MISSING, Field, fields
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sarcast.errors import ArtefactError, SarcastError
from sarcast.values import Scene, SceneFile

T = TypeVar("T", Scene, SceneFile)

_TIMES = ("time", "processed")


def scene_to_json(scene: Scene) -> dict[str, Any]:
    """Every field of a scene, JSON-able without NaN."""
    plain = {
        field.name: _plain(getattr(scene, field.name)) for field in fields(Scene) if field.name != "files"
    }
    files = [{f.name: _plain(getattr(file, f.name)) for f in fields(SceneFile)} for file in scene.files]
    return {**plain, "files": files}


def scene_from_json(data: object, *, where: object) -> Scene:
    """What `scene_to_json` gave.

    Raises:
        ArtefactError: A field is unknown, missing, of the wrong kind, or a path is not a plain absolute one.
    """
    values = _checked(Scene, data, where)
    if not isinstance(values["files"], list):
        raise ArtefactError(f"expected a list in files, found {type(values['files']).__name__}, in {where}")
    files = []
    for entry in values["files"]:
        file = _checked(SceneFile, entry, where)
        if (
            not PurePath(file["path"]).is_absolute()
            or ".." in PurePath(file["path"]).parts
            or "\0" in file["path"]
        ):
            raise ArtefactError(f"expected an absolute path without '..', found {file['path']!r}, in {where}")
        files.append(_made(SceneFile, file, where))
    return _made(Scene, {**values, "files": tuple(files)}, where)


def _plain(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return f"{np.datetime_as_string(value, unit='ns')}Z"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value


def _checked(kind: type[T], data: object, where: object) -> dict[str, Any]:
    """The fields of a `Scene` or `SceneFile`, each of its declared type; `files` is left as it is."""
    if not isinstance(data, dict):
        raise ArtefactError(
            f"expected an object for a {kind.__name__}, found {type(data).__name__}, in {where}"
        )
    known = {field.name: field for field in fields(kind)}
    for name in data:
        if name not in known:
            raise ArtefactError(f"unknown field {name!r} of {kind.__name__} in {where}")
    for name, field in known.items():
        if name not in data and _required(field):
            raise ArtefactError(f"expected the field {name!r} of {kind.__name__}, found none, in {where}")
    return {
        name: value if name == "files" else _value(kind, name, value, where) for name, value in data.items()
    }


def _value(kind: type[T], name: str, value: object, where: object) -> Any:
    if name in _TIMES and kind is Scene:
        if value is None and name == "processed":
            return None
        try:
            found: Any = np.datetime64(str(value).removesuffix("Z"), "ns")
        except ValueError:
            found = np.datetime64("NaT", "ns")
        if np.isnat(found) or not isinstance(value, str):
            raise ArtefactError(f"expected a UTC time in {name}, found {value!r}, in {where}")
        return found
    try:
        return _adapters(kind.__name__)[name].validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].lower()
        raise ArtefactError(f"field {name!r}: {reason}, found {str(value)[:80]!r}, in {where}") from None


@cache
def _adapters(kind: str) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints({"Scene": Scene, "SceneFile": SceneFile}[kind])
    return {name: TypeAdapter(hint) for name, hint in hints.items() if name not in (*_TIMES, "files")}


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _made(kind: type[T], values: dict[str, Any], where: object) -> T:
    try:
        return kind(**values)
    except SarcastError as error:
        raise ArtefactError(f"{error}, in {where}") from None
