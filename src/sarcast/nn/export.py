"""An encoder as ONNX: for programs without PyTorch, with the scaling of its input inside the file."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.export import Dim
from torch.nn.attention import SDPBackend, sdpa_kernel

from sarcast.errors import SettingsError
from sarcast.nn.card import Card
from sarcast.nn.pretrained import Pretrained, load_encoder
from sarcast.runtime.settings import as_json


def export_onnx(encoder: Path, out: Path, *, card: Card | None = None) -> Path:
    """Write an encoder as one ONNX file.

    Its input `pixels` is float32 (batch, channel, y, x), scaled as the card says, without gaps; its output
    `tokens` is float32 (batch, rows, cols, dim), as `ViT.forward` gives. Batch, rows and columns are open.
    The file's metadata holds `card` (JSON), `window` (tokens a side of the images it was trained on) and
    `patch` (pixels a side of a token).

    Args:
        encoder: Folder or file that `load_encoder` reads.
        out: File to write; it appears when it is whole.
        card: Scaling of the input, for a file that does not tell.

    Raises:
        SettingsError: The extra `onnx` is not installed.
        ArtefactError: The encoder is missing or does not fit.
    """
    missing = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"expected the extra `onnx` (pip install 'sarcast[onnx]'), found no {missing[0]}, to write {out}"
        )
    found = load_encoder(encoder, card=card)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        _program(found).save(partial, external_data=False)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _program(encoder: Pretrained) -> torch.onnx.ONNXProgram:
    vit = encoder.vit
    rows, cols = Dim("rows"), Dim("cols")
    open_axes = {0: Dim("batch"), 2: vit.patch * rows, 3: vit.patch * cols}
    example = torch.zeros(2, vit.channels, 2 * vit.patch, 3 * vit.patch)
    with _quietly(), sdpa_kernel(SDPBackend.MATH):
        program = torch.onnx.export(
            vit,
            (example,),
            dynamo=True,
            input_names=["pixels"],
            output_names=["tokens"],
            dynamic_shapes=(open_axes,),
            verbose=False,
        )
    if program is None:
        raise AssertionError("torch.onnx.export gave no program")
    program.model.metadata_props.update(
        card=json.dumps(as_json(encoder.card)), window=str(encoder.window), patch=str(vit.patch)
    )
    return program


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what PyTorch's exporter says of itself: its deprecations, and that torchvision is absent."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        log.setLevel(before)
