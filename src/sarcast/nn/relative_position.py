"""Relative position on keys: a query adds to its scores what it thinks of "so far up, so far left" (iRPE).

Contextual, product method, shared by the heads (Wu et al., 2021, arXiv 2107.14222): the score of query i and
key j gains q_i . table[:, bucket(i, j)], with q unscaled. Rows and columns are put into seven bins each,
7 x 7 buckets in all, and every pair with the class token into one more.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from sarcast.nn.linear import linear

ALPHA, BETA, GAMMA = 1.9, 3.8, 15.2
"""Distances up to ALPHA are kept, longer ones grow by their log, and stop at BETA; GAMMA = 8 ALPHA."""
SIDE = 2 * int(BETA) + 1
BUCKETS = SIDE**2 + 1

_BUCKETS: dict[tuple[int, int, torch.device], Tensor] = {}


class RelativePositionOnKeys(nn.Module):
    """The table of one layer, and the additive term it gives to attention scores."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.lookup_table_weight = nn.Parameter(torch.zeros(1, head_dim, BUCKETS))

    def forward(
        self, q: Float[Tensor, "b head n dim"], bucket: Int[Tensor, "*own n n"]
    ) -> Float[Tensor, "b head n n"]:
        """Term to add to the scores of all pairs: a look-up of q @ table, never a (n, n, dim) array.

        `bucket` is (n, n), the same for all rows, or (b, 1, n, n).
        """
        return linear(q, self.lookup_table_weight[0].t()).gather(3, bucket.expand(*q.shape[:2], -1, -1))


def buckets(rows: int, cols: int, device: torch.device | None = None) -> Int[Tensor, "n n"]:
    """Bucket of every (query, key) pair of a class token and a grid read row by row; n = 1 + rows * cols.

    Tables are kept for each grid and device, outside any state dict.
    """
    if torch.compiler.is_compiling():  # a grid of any size stays open in a traced graph
        return _buckets(rows, cols).to(device)
    key = (rows, cols, torch.device(device or "cpu"))
    if key in _BUCKETS:
        return _BUCKETS[key]
    with torch.inference_mode(False):  # kept for training too, wherever it is first asked for
        _BUCKETS[key] = _buckets(rows, cols).to(key[2])
    return _BUCKETS[key]


def bin_of(distance: int) -> int:
    """Bin of a signed distance in patches, -3..3: 0, 1, 2, 2, 3, 3, 3, ... for 0, 1, 2, 3, 4, 5, 6, ..."""
    far = abs(distance)
    if far > ALPHA:
        far = int(min(BETA, round(ALPHA + ALPHA * math.log(far / ALPHA) / math.log(GAMMA / ALPHA))))
    return -far if distance < 0 else far


def _buckets(rows: int, cols: int) -> Tensor:
    down, right = (_bins(n) + SIDE // 2 for n in (rows, cols))
    pairs = SIDE * down[:, None, :, None] + right[None, :, None, :]
    return pad(pairs.reshape(rows * cols, rows * cols), (1, 0, 1, 0), value=BUCKETS - 1)


def _bins(n: int) -> Tensor:
    """(query, key) of one axis."""
    bins = torch.tensor([bin_of(distance) for distance in range(math.ceil(GAMMA) + 1)])
    distance = torch.arange(n)[:, None] - torch.arange(n)
    return distance.sign() * bins[distance.abs().clamp(max=len(bins) - 1)]
