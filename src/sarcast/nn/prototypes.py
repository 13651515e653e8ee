"""What keeps self-distillation from saying one thing: a head of prototypes, Sinkhorn-Knopp, and KoLeo.

The head is DINO's (Caron et al., 2021, arXiv 2104.14294), Sinkhorn-Knopp SwAV's (2020, arXiv 2006.09882), the
Kozachenko-Leonenko regulariser that of Sablayrolles et al. (2019, arXiv 1806.03198), as in DINOv2.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, normalize


class PrototypeHead(nn.Module):
    """Two hidden layers, a narrow one of length 1, and its cosine with every prototype."""

    def __init__(self, dim: int, *, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.narrow = nn.Linear(hidden, bottleneck)
        self.prototypes = nn.Parameter(torch.zeros(prototypes, bottleneck))

    def forward(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "n prototype"]:
        """Cosines, -1 to 1."""
        x = self.narrow(gelu(self.second(gelu(self.first(x)))))
        return linear(normalize(x, dim=1), normalize(self.prototypes, dim=1))


def sinkhorn(scores: Float[Tensor, "n prototype"], *, iterations: int = 3) -> Float[Tensor, "n prototype"]:
    """Probabilities nearest to softmax of `scores` that use all prototypes alike.

    Rows sum to 1; columns come near n / prototypes with every iteration.
    """
    n, prototypes = scores.shape
    log = scores.float()
    for _ in range(iterations if n else 0):
        log = log - log.logsumexp(0, keepdim=True) - math.log(prototypes)
        log = log - log.logsumexp(1, keepdim=True) - math.log(n)
    return (log + math.log(max(n, 1))).exp()


def koleo(vectors: Float[Tensor, "n dim"], *, smallest: float = 1e-6) -> Float[Tensor, ""]:
    """- mean of ln(distance to the nearest other), of vectors brought to length 1; 0 for fewer than two."""
    if len(vectors) < 2:
        return vectors.sum() * 0
    unit = normalize(vectors.float(), dim=1)
    with torch.no_grad():
        near = (unit @ unit.T).fill_diagonal_(-2).argmax(1)
    return -((unit - unit[near]).norm(dim=1) + smallest).log().mean()
