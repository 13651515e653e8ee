"""sarcast probe: what encoders tell with few labels, beside random ones, pixels, statistics."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from sarcast.errors import SettingsError
from sarcast.probes.decoder import Decode
from sarcast.probes.finetune import FineTune
from sarcast.probes.linear import Linear
from sarcast.runtime.artefact import file_hash, locked, up_to_date, write_json, writing
from sarcast.runtime.settings import Settings, as_json

ESTIMATES = "estimates.json"
USUAL = {
    "classification": ("knn", "logistic", "linear"),
    "segmentation": ("knn", "linear"),
    "regression": ("ridge",),
    "pixel_regression": ("ridge",),
}
"""Task -> probes when none is named."""
OTHERS = {
    "classification": ("knn_plain", "finetune"),
    "segmentation": ("knn_plain", "logistic", "decoder", "finetune"),
    "regression": ("finetune",),
    "pixel_regression": ("decoder", "finetune"),
}
"""Task -> probes that go with it, too, and take longer or tell little more."""
MAIN = {
    "classification": "accuracy",
    "segmentation": "miou",
    "regression": "rmse",
    "pixel_regression": "rmse",
}
"""Task -> the figure of the table."""
DENSE = ("segmentation", "pixel_regression")
"""Tasks whose labels are images."""


class Probe(Settings):
    """Judge encoders, frozen or fine-tuned, on labelled chips, with curves over how many are labelled."""

    source: Path
    """Folder (CLASS/image or ROLE/CLASS/image), CSV file, ZIP archive with one, or folder of GeoTIFF chips
    with `labels`."""
    task: Literal["classification", "regression", "segmentation", "pixel_regression"] = "classification"
    """What a label is: a class, a number, a class of every pixel, or a number of every pixel. For regression
    label images of numbers are averaged over a chip."""
    weights: tuple[Path, ...] = ()
    """Encoders: folders, or names of those that come with sarcast. A random network of each one's size is
    judged too."""
    out: Path = Path("sarcast-probe")
    """Folder for estimates.json."""
    probes: tuple[Literal["knn", "knn_plain", "logistic", "linear", "ridge", "decoder", "finetune"], ...] = ()
    """knn (weighed), knn_plain, logistic, linear (with BatchNorm), ridge, decoder (of frozen tokens, for
    labels of pixels), finetune (of the whole encoder); those usual for the task when not given."""
    neighbours: int = Field(20, ge=1)
    """Of knn and knn_plain."""
    linear: Linear = Linear()
    """How linear is trained."""
    decoder: Decode = Decode()
    """How decoder is trained."""
    finetune: FineTune = FineTune()
    """How finetune trains encoder and head."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; auto: CUDA where there is one."""
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
    """Shares of the train chips that are labelled."""
    shots: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Labelled chips a class, for classification; instead of `fractions` where given."""
    draws: int = Field(5, ge=1)
    """Of what is labelled; the same for every row."""
    side: int = Field(128, ge=2)
    """Every chip is cut to its middle of so many pixels."""
    unit: Literal["picture", "db", "power", "amplitude"] | None = None
    """Of the chips' numbers; PNG and JPEG are pictures, seasonal tiles dB, other TIFF must be told. Pictures
    go to a network as 0 to 1, others by its card."""
    channels: tuple[str, ...] = ()
    """Names of the chips' channels, for weights whose card has names; seasonal tiles have theirs."""
    labels: Path | None = None
    """Folder of label images with the names and grids of the chips in `source`."""
    test_source: Path | None = None
    """Another region, to be judged in: all its chips, or those of its role test. `source` then is learned
    from: all its chips, or those of its role train."""
    test_labels: Path | None = None
    """Its folder of label images, where `source` has one."""
    classes: dict[int, str] | None = None
    """Number in the label images -> class, such as 1 water 2 trees; those of WorldCover when not given."""
    ignored: tuple[int, ...] = ()
    """Numbers in label images that stand for no label."""
    label: str = "label"
    """Column of the CSV with the class or number."""
    path: str = "path"
    """Column with the image's path."""
    prefix: str = ""
    """What a path in the CSV lacks in front."""
    group: str | None = None
    """Column with the group: chips of one target, scene or place, which share a role."""
    role: str | None = None
    """Column with the role, train or test; roles are drawn when not given."""
    only: dict[str, str] | None = None
    """Column -> text of the lines that count, such as std_single_serial 1."""
    group_in_path: str | None = None
    """Regular expression; what it matches in a path is the chip's group."""
    test_share: float = Field(0.3, gt=0, lt=1)
    """Of the chips, by whole groups, where the source has no roles."""
    token: int = Field(8, ge=2)
    """Side of the cells of segmentation, pixels, where no weights tell."""
    tokens: int = Field(20_000, ge=100)
    """Most tokens of segmentation a probe learns from, drawn from the labelled ones."""
    pixel_side: int = Field(32, ge=1)
    """Means a side the control of pixels sees of a chip."""
    resamples: int = Field(500, ge=20)
    """Of groups of test chips and of draws, behind every interval."""
    seed: int = 0
    """Of everything drawn."""


def probe(settings: Probe) -> dict[str, Any]:
    """Write estimates.json and give what is in it; with the same settings and chips it is only read.

    Returns:
        Plain values: task, main figure, chips, and rows (features, probe, labels, count, figures).

    Raises:
        SettingsError: The settings do not go together.
        DataError: A chip is in two roles, or there are too few.
        SarcastError: Chips or weights cannot be read.
    """
    from sarcast.steps.probe_chips import read_chips

    _check(settings)
    chips = read_chips(settings)
    said = {key: value for key, value in as_json(settings).items() if key != "out"}
    inputs = {"chips": _digest(chips), **_weights(settings)}
    target = settings.out / ESTIMATES
    if not up_to_date(target, settings=said, inputs=inputs):
        from sarcast.steps.probe_rows import estimates

        found = estimates(settings, chips)
        with (
            locked(target.parent),
            writing(target, settings=said, inputs=inputs, seed=settings.seed) as partial,
        ):
            write_json(partial, found)
    return {**json.loads(target.read_text(encoding="utf-8")), "estimates": str(target)}


def as_text(found: dict[str, Any]) -> str:
    """A table a probe: rows are ways to see chips, columns are amounts of labels."""
    name, chips = found["main"], found["chips"]
    lines = [
        f"{found['task']}: {name}, mean over {found['draws']} draws of labels [95 %, test groups and draws "
        f"resampled]; {chips['train']} train chips, {chips['test']} test chips"
    ]
    if found.get("ceiling") is not None:
        lines.append(f"the best that an answer a token of {found['token']} px allows: {found['ceiling']:.3g}")
    for one in dict.fromkeys(row["probe"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["probe"] == one]
        amounts = list(dict.fromkeys(row["labels"] for row in rows))
        table = [[one, *amounts]]
        for seen in dict.fromkeys(row["features"] for row in rows):
            cells = {row["labels"]: _cell(row["figures"][name]) for row in rows if row["features"] == seen}
            table.append([seen, *(cells[amount] for amount in amounts)])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines += ["", *("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in table)]
    return "\n".join([*(line.rstrip() for line in lines), "", f"estimates: {found['estimates']}"])


def _cell(figure: dict[str, Any]) -> str:
    if figure["mean"] is None:
        return "-"
    return f"{figure['mean']:.3g} [{figure['low']:.3g}, {figure['high']:.3g}]"


def _check(settings: Probe) -> None:
    """That settings go with the task, and with each other."""
    for name in settings.probes:
        if name not in (*USUAL[settings.task], *OTHERS[settings.task]):
            raise SettingsError(f"expected probes for {settings.task}, found {name}, in --probes")
    if "finetune" in settings.probes and not settings.weights:
        raise SettingsError("expected --weights to fine-tune, found none")
    if settings.shots and settings.task != "classification":
        raise SettingsError(f"expected --shots with classification, found {settings.task}")
    if (settings.test_labels is None) != (settings.labels is None or settings.test_source is None):
        raise SettingsError("expected --test-labels with --labels and --test-source, and them with it")


def _digest(chips: Any) -> str:
    """Of what the chips hold, their labels and roles."""
    import numpy as np

    found = hashlib.sha256(json.dumps([chips.hashes, chips.roles, chips.groups, chips.class_names]).encode())
    for one in chips.targets():
        found.update(np.ascontiguousarray(one).tobytes())
    return found.hexdigest()


def _weights(settings: Probe) -> dict[str, str]:
    if not settings.weights:
        return {}
    from sarcast.nn.pretrained import weight_files

    return {str(file): file_hash(file) for path in settings.weights for file in weight_files(path)}
