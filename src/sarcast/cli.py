"""The command line: one table of verbs; what a verb needs is imported when it is called."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from sarcast import __version__
from sarcast.errors import SarcastError, SettingsError

BAD_INPUT, OUR_FAULT, INTERRUPTED = 2, 1, 130


@dataclass(frozen=True)
class Verb:
    """Where a verb lives and what its words mean."""

    module: str
    settings: str
    help: str
    words: tuple[str, ...] = ()
    """Settings given without a flag, in order."""

    @property
    def function(self) -> str:
        """Name of the function in the module."""
        return self.module.rpartition(".")[2]


VERBS = {
    "demo": Verb(
        "sarcast.steps.demo",
        "Demo",
        "the embedded default: simulate a place with known events, do everything",
    ),
    "run": Verb(
        "sarcast.steps.run",
        "Run",
        "the main job: SOURCE --out DIR, from products to events on a map",
        ("source",),
    ),
    "info": Verb(
        "sarcast.steps.info",
        "Info",
        "what a source holds, what would be refused and why, what it would cost",
        ("source",),
    ),
    "simulate": Verb(
        "sarcast.steps.simulate",
        "Simulate",
        "write SAR products of a simulated place, or labelled seasonal tiles",
    ),
    "ingest": Verb("sarcast.steps.ingest", "Ingest", "products -> scenes.json", ("source",)),
    "stack": Verb(
        "sarcast.steps.stack", "StackScenes", "scenes.json -> stack.zarr, one per geometry", ("scenes",)
    ),
    "encode": Verb("sarcast.steps.encode", "Encode", "stack.zarr -> features.zarr", ("stack",)),
    "pretrain": Verb(
        "sarcast.steps.pretrain", "Pretrain", "stacks, tiles or chips, or simulated ones -> encoder/"
    ),
    "adapt": Verb("sarcast.steps.adapt", "Adapt", "stacks and an encoder -> encoder/, trained on that place"),
    "forecast": Verb(
        "sarcast.steps.forecast", "Forecast", "features.zarr -> detector/: learn to forecast", ("features",)
    ),
    "finetune": Verb(
        "sarcast.steps.finetune", "Finetune", "stacks and an encoder -> encoder/, trained with its forecaster"
    ),
    "score": Verb("sarcast.steps.score", "Score", "features.zarr -> scores.zarr", ("features",)),
    "fuse": Verb("sarcast.steps.fuse", "Fuse", "several scores.zarr of one stack -> one scores.zarr"),
    "detect": Verb("sarcast.steps.detect", "Detect", "scores.zarr -> detections.parquet", ("scores",)),
    "publish": Verb("sarcast.steps.publish", "Publish", "a run -> site/: maps, catalogue, report", ("run",)),
    "evaluate": Verb(
        "sarcast.steps.evaluate",
        "Evaluate",
        "a run or released scores -> estimates.json: judge, or recompute what was published",
        ("run",),
    ),
    "probe": Verb(
        "sarcast.steps.probe",
        "Probe",
        "labelled chips and encoders -> estimates.json: what few labels make of frozen vectors",
        ("source",),
    ),
    "look": Verb(
        "sarcast.steps.look",
        "Look",
        "stacks or chips and an encoder -> look/: what it sees, as maps and pictures",
        ("source",),
    ),
    "coherence": Verb(
        "sarcast.steps.coherence",
        "Coherence",
        "two SLCs -> a coherence map, to judge by and never to learn from",
        ("first", "second"),
    ),
    "bench": Verb(
        "sarcast.steps.bench",
        "Bench",
        "injected, simulated or sites: every detector on every encoder, judged alike",
        ("which",),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; 0 when it worked, 2 for bad input, 1 for our own failure."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = words[0] if words else "help"
    try:
        code = _answer(words)
        sys.stdout.flush()
        return code
    except SarcastError as error:
        return _complain(name, _one_line(error), BAD_INPUT)
    except KeyboardInterrupt:
        return _complain(name, "interrupted; what was finished stays, run again to go on", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("SARCAST_DEBUG"):
            raise
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return _complain(name, f"expected room to write, found {_one_line(error)}", BAD_INPUT)
        said = f"our own failure, {type(error).__name__}: {_one_line(error)} (SARCAST_DEBUG=1 shows where)"
        return _complain(name, said, OUR_FAULT)


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def _complain(name: str, said: str, code: int) -> int:
    print(f"sarcast {name}: {said}", file=sys.stderr)
    return code


def _answer(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"sarcast {__version__}")
        return 0
    return _call(words[0], words[1:])


def _call(name: str, words: list[str]) -> int:
    if name not in VERBS:
        raise SettingsError(f"expected a verb in {', '.join(VERBS)}, found {name!r}")
    verb = VERBS[name]
    as_json, dry = (_take_switch(words, flag) for flag in ("--json", "--dry-run"))
    module = import_module(verb.module)
    settings = _settings(name, verb, getattr(module, verb.settings), words)
    if dry:
        _show(settings, source=name in ("run", "ingest"), as_json=as_json)
        return 0
    _log_to_stderr()
    if name == "info":
        settings = settings.model_copy(update={"as_json": as_json})
    _print(name, module, getattr(module, verb.function)(settings), as_json=as_json)
    return 0


def _settings(name: str, verb: Verb, model: Any, words: list[str]) -> Any:
    """The verb's settings: defaults, then the recipe, then the flags."""
    import tyro
    from pydantic import ValidationError

    from sarcast.runtime.settings import build, explain

    recipe = _take_value(words, "--recipe")
    given = _read_recipe(recipe) if recipe is not None else {}
    options = _take_options(words, model)
    words = _flagged(verb, words)
    more: dict[str, Any] = {}
    if given:
        on_line = {
            w.removeprefix("--").partition("=")[0].replace("-", "_") for w in words if w.startswith("--")
        }
        absent = {
            key: "." for key, field in model.model_fields.items() if field.is_required() and key in on_line
        }
        more = {"default": build(model, {**absent, **given}, where=str(recipe))}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found = tyro.cli(model, args=words, prog=f"sarcast {name}", **more)
    except ValidationError as error:
        raise SettingsError(explain(error, "the command line")) from None
    except SystemExit as stop:
        if stop.code in (0, None):
            print(_plugin_help(model, given, words), end="")
            raise
        raise SettingsError(_complaint(said.getvalue())) from None
    if not options:
        return found
    values = {**found.model_dump(), **{key: _over(getattr(found, key), new) for key, new in options.items()}}
    return build(model, values, where="the command line")


def _plugin_help(model: Any, given: dict[str, Any], words: list[str]) -> str:
    """The settings of the encoder or detector that would be used, one line each."""
    from sarcast.detectors import DETECTORS
    from sarcast.encoders import ENCODERS

    lines: list[str] = []
    tables = {"encoder": ENCODERS, "detector": DETECTORS}
    for what, plugins in tables.items():
        if what not in model.model_fields:
            continue
        name = _take_value(list(words), f"--{what}") or given.get(what, model.model_fields[what].default)
        flag = f"{what}-options" if f"{what}_options" in model.model_fields else "options"
        if name in plugins:
            lines.append(f"\nsettings of the {what} {name}:")
            for field, about in plugins[name].model_fields.items():
                told = " ".join((about.description or "").split())
                lines.append(f"  --{flag}.{field.replace('_', '-')}  {told} (default: {about.default})")
    for stage in _STAGES:
        if stage in model.model_fields:
            told = " ".join((model.model_fields[stage].description or "").split())
            lines.append(f"\n--{stage}, or settings of it (--{stage}.NAME VALUE): {told}")
    return "\n".join([*lines, ""]) if lines else ""


def _read_recipe(name: str) -> dict[str, Any]:
    """Settings of a recipe: a YAML file's path, or the name of one that comes with sarcast."""
    from sarcast.runtime.settings import read_yaml

    path = Path(name)
    own = Path(__file__).parent / "recipes"
    if path.suffix not in (".yaml", ".yml"):
        path = own / f"{name}.yaml"
        if not path.exists():
            known = ", ".join(sorted(p.stem for p in own.glob("*.yaml")))
            raise SettingsError(f"expected a YAML file or a recipe in {known}, found {name!r}")
    return read_yaml(path)


def _flagged(verb: Verb, words: list[str]) -> list[str]:
    """The leading words without a flag, given their flags."""
    found: list[str] = []
    rest = list(words)
    for field in verb.words:
        if rest and not rest[0].startswith("-"):
            found += [f"--{field.replace('_', '-')}", rest.pop(0)]
    return found + rest


def _take_switch(words: list[str], flag: str) -> bool:
    if flag not in words:
        return False
    words.remove(flag)
    return True


def _take_value(words: list[str], flag: str) -> str | None:
    for at, word in enumerate(words):
        if word.startswith(f"{flag}="):
            return words.pop(at).partition("=")[2]
        if word == flag:
            if at + 1 == len(words):
                raise SettingsError(f"expected a value after {flag}, found nothing")
            value = words[at + 1]
            del words[at : at + 2]
            return value
    return None


def _take_options(words: list[str], model: Any) -> dict[str, dict[str, Any]]:
    """Settings such as --options.patch 8 or --adapt.training.epochs 9: field -> nested names, values as YAML.

    A stage may stand alone: --adapt is stage 1 with its defaults.
    """
    import yaml

    found: dict[str, dict[str, Any]] = {}
    at = 0
    while at < len(words):
        flag, _, value = words[at].partition("=")
        field, *names = flag.removeprefix("--").replace("-", "_").split(".")
        alone = not names and not value and field in _STAGES
        ours = flag.startswith("--") and field in _OPTIONS and field in model.model_fields
        if not (ours and (names or alone)):
            at += 1
            continue
        del words[at]
        inner = found.setdefault(field, {})
        if alone:
            continue
        if not value:
            if at == len(words):
                raise SettingsError(f"expected a value after {flag}, found nothing")
            value = words.pop(at)
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        try:
            inner[names[-1]] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise SettingsError(f"expected a value after {flag}, found {value!r}") from None
    return found


_STAGES = ("adapt", "finetune")
_OPTIONS = ("options", "encoder_options", "detector_options", *_STAGES)


def _over(given: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """`given` with the values of `new`, level by level."""
    found = dict(given or {})
    for name, value in new.items():
        found[name] = _over(found.get(name), value) if isinstance(value, dict) else value
    return found


def _complaint(said: str) -> str:
    """What the parser printed in its box, as one line."""
    plain = re.sub(r"[\u2500-\u257f]+", " ", re.sub(r"\x1b\[[0-9;]*m", "", said))
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("For full helptext", "Parsing error"))]
    return " ".join(kept)[:500] or "the command line could not be read"


def _print(name: str, module: Any, result: Any, *, as_json: bool) -> None:
    if name == "info":
        return
    if as_json:
        told = module.as_dict(result) if hasattr(module, "as_dict") else _plain(result)
        print(json.dumps(told, indent=2, sort_keys=True))
    elif hasattr(module, "as_text"):
        print(module.as_text(result))
    else:
        for path in result if isinstance(result, list) else [result]:
            print(path)


def _plain(result: Any) -> Any:
    if isinstance(result, list):
        return {"paths": [str(path) for path in result]}
    return result if isinstance(result, dict) else {"path": str(result)}


def _show(settings: Any, *, source: bool, as_json: bool) -> None:
    """What a verb would do: its settings and, of products, what they are; as JSON in one piece."""
    told = settings.model_dump(mode="json")
    if not source:
        print(json.dumps(told, indent=2, sort_keys=True))
        return
    from sarcast.steps.info import Info, info

    asked = Info(source=settings.source, reader=settings.reader, declare=settings.declare)
    if not as_json:
        print(json.dumps(told, indent=2, sort_keys=True))
        info(asked)
        return
    with contextlib.redirect_stdout(io.StringIO()):
        found = info(asked)
    print(json.dumps({"settings": told, "source": found}, indent=2, sort_keys=True))


def _log_to_stderr() -> None:
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _help() -> str:
    width = max(len(name) for name in VERBS)
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    return f"""sarcast {__version__}: what changed here, when, and should I believe it?

usage: sarcast VERB [...]        sarcast VERB --help lists a verb's settings

{verbs}

every verb: --recipe FILE.yaml  settings from a file; flags override them
            --json              print results as JSON
            --dry-run           print the settings, check the source, do nothing"""


def script() -> NoReturn:
    """The command `sarcast`: run a verb and end the process.

    One of several processes that torchrun started ends without taking the interpreter down first: gloo's
    threads may outlive that and abort a process whose work is done.
    """
    code = main()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    script()
