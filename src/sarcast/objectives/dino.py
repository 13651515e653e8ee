"""Self-distillation without labels: say of a part of an image what a slow copy says of the whole (DINO).

Caron et al. (2021, arXiv 2104.14294): of an image, two large and several small crops; from each a student
says the teacher's distribution over prototypes on another, large one. The teacher is an exponential moving
average of the student; its answers are centred, or spread over all prototypes by Sinkhorn-Knopp, so that one
answer for everything is no way out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from sarcast.errors import SettingsError
from sarcast.nn.attention import initialise
from sarcast.nn.ema import decay_at, follow, follower
from sarcast.nn.fill import each_channel, fill
from sarcast.nn.gradient import ratio_gradients
from sarcast.nn.multi_crop import Crops, Looks, crops
from sarcast.nn.patch import grid_of
from sarcast.nn.prototypes import PrototypeHead, koleo, sinkhorn
from sarcast.nn.vit import ViT
from sarcast.runtime.settings import Settings


class Dino(Settings):
    """Tell a slow copy's answer to one crop from another crop."""

    locals: int = Field(6, ge=0)
    """Small crops an image has, beside two large ones."""
    global_side: float = Field(0.75, gt=0, le=1)
    """Side of a large crop, share of the image's shorter side, in whole patches."""
    local_side: float = Field(0.375, gt=0, le=1)
    """Side of a small crop, share of the image's shorter side, in whole patches."""
    candidates: int = Field(1, ge=1)
    """Places drawn for a small crop, of which that with the largest ratio gradients is taken; 1: anywhere."""
    radii: tuple[int, ...] = Field((2, 4), min_length=1)
    """Radii of the ratio gradients that steer, pixels."""
    looks: int | None = Field(None, ge=1)
    """Each crop gets speckle of its own, of this many looks."""
    gain_db: float = Field(1.0, ge=0)
    """Each crop's level moves by up to this much up or down, dB."""
    flips: bool = True
    """Half of the crops are turned upside down."""
    span_db: float = Field(40.0, gt=0)
    """dB between pixel values 0 and 1."""
    channels: tuple[str, ...] = ()
    """Names of the channels, as a card has them: a ratio (VV-VH) gets speckle of both its bands, and no gain.
    Not given, all are bands."""
    head_dim: int = Field(256, ge=1)
    """Width of the head's hidden layers."""
    bottleneck: int = Field(64, ge=2)
    """Width in which prototypes are compared."""
    prototypes: int = Field(1024, ge=2)
    """Of the distribution; DINO has 65536, for a million images."""
    balance: Literal["centre", "sinkhorn"] = "centre"
    """What keeps the teacher from one answer: the mean of its answers is taken off, or those to the images of
    a part are spread over all prototypes."""
    centre_decay: float = Field(0.9, ge=0, lt=1)
    """Of the moving mean of the teacher's answers (centre)."""
    temperature: float = Field(0.1, gt=0)
    """Of the student."""
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    """Of the teacher, at the start and after its warm-up."""
    temperature_warm_up: float = Field(0.3, gt=0, le=1)
    """Share of the training in which the teacher's temperature rises."""
    koleo: float = Field(0.0, ge=0)
    """Weight of KoLeo, which keeps images of a batch apart; DINOv2 has 0.1."""
    decay: tuple[float, float] = (0.996, 1.0)
    """Of the moving average, at the start and the end of training."""

    @model_validator(mode="after")
    def _in_order(self) -> Dino:
        if not 0 < self.teacher_temperature[0] <= self.teacher_temperature[1]:
            raise ValueError("teacher_temperature must be two positive numbers in order")
        if not 0 <= self.decay[0] <= self.decay[1] <= 1:
            raise ValueError("decay must be two numbers of 0 to 1 in order")
        return self

    def module(self, encoder: ViT, *, rng: torch.Generator) -> SelfDistillation:
        """`encoder` (shared, not copied) with a head drawn from `rng`, and copies of both as teacher.

        Raises:
            SettingsError: `channels` are others than the encoder sees.
        """
        if self.channels and len(self.channels) != encoder.channels:
            raise SettingsError(
                f"expected names of {encoder.channels} channels, found {', '.join(self.channels)}"
            )
        return SelfDistillation(encoder, self, rng=rng)


class SelfDistillation(nn.Module):
    """An encoder and a head, and slow copies of both; called with images, it gives the loss."""

    distribution = True
    """Targets are probabilities, and the loss a cross-entropy."""
    centre: Tensor
    done: Tensor

    def __init__(self, encoder: ViT, settings: Dino, *, rng: torch.Generator) -> None:
        super().__init__()
        self.settings = settings
        self.head = PrototypeHead(
            encoder.size.dim,
            hidden=settings.head_dim,
            bottleneck=settings.bottleneck,
            prototypes=settings.prototypes,
        )
        initialise(self, rng=rng)
        self.encoder = encoder
        self.teacher, self.teacher_head = follower(encoder), follower(self.head)
        self.register_buffer("centre", torch.zeros(settings.prototypes))
        self.register_buffer("done", torch.zeros(()))
        self._answers: list[Tensor] = []

    def forward(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Cross-entropy of teacher and student over all pairs of a large and another crop.

        Args:
            pixels: As the card scales them.
            valid: Where pixels count; None means everywhere. A crop without any is left out.
            rng: Draws the crops and their speckle, on the CPU.

        Raises:
            ShapeError: The image is not whole patches, or smaller than a radius that steers.
        """
        s = self.settings
        large, small = self.views(pixels, valid, rng=rng)
        with torch.no_grad():
            answers = _of_views(large, lambda x: self.teacher_head(self.teacher.tokens(x)[:, 0]))
            goal = self.goal(answers, large.counts)
        if torch.is_grad_enabled():
            self._answers.append(answers[large.counts])
        every = [_of_views(some, lambda x: self.encoder.tokens(x)[:, 0]) for some in (large, small) if some]
        vectors, counts = torch.cat(every), torch.cat([some.counts for some in (large, small) if some])
        logits = self.head(vectors.flatten(0, 1)).unflatten(0, vectors.shape[:2])
        loss = self.loss(goal, large.counts, logits, counts)
        if s.koleo:
            apart = [koleo(some[use]) for some, use in zip(every[0], large.counts, strict=True)]
            loss = loss + s.koleo * sum(apart) / len(apart)
        return loss

    def views(
        self,
        pixels: Float[Tensor, "b c y x"],
        valid: Bool[Tensor, "b *channel y x"] | None = None,
        *,
        rng: torch.Generator,
    ) -> tuple[Crops, Crops | None]:
        """(two large crops, small crops) of every image."""
        s, side = self.settings, self.encoder.patch
        least = min(grid_of(pixels, side))
        large, small = (max(1, round(share * least)) * side for share in (s.global_side, s.local_side))
        how = Looks(gain_db=s.gain_db, looks=s.looks, flips=s.flips, span_db=s.span_db, channels=s.channels)
        first = crops(pixels, valid, how, side=large, count=2, patch=side, rng=rng)
        if not s.locals:
            return first, None
        edges = self._edges(pixels, valid) if s.candidates > 1 else None
        return first, crops(
            pixels,
            valid,
            how,
            side=small,
            count=s.locals,
            patch=side,
            rng=rng,
            edges=edges,
            candidates=s.candidates,
        )

    @torch.no_grad()
    def goal(
        self, answers: Float[Tensor, "view b prototype"], counts: Bool[Tensor, "view b"]
    ) -> Float[Tensor, "view b prototype"]:
        """The teacher's probabilities from its cosines; 0 where a crop does not count."""
        s = self.settings
        start, end = s.teacher_temperature
        temperature = start + (end - start) * (self.done / s.temperature_warm_up).clamp(0, 1)
        used = answers[counts].float()
        if s.balance == "sinkhorn":
            found = sinkhorn(used / temperature)
        else:
            found = ((used - self.centre) / temperature).softmax(1)
        every = torch.zeros_like(answers, dtype=torch.float32)
        every[counts] = found
        return every

    def loss(
        self,
        goal: Float[Tensor, "large b prototype"],
        goal_counts: Bool[Tensor, "large b"],
        logits: Float[Tensor, "view b prototype"],
        counts: Bool[Tensor, "view b"],
    ) -> Float[Tensor, ""]:
        """Mean cross-entropy over pairs of a large crop and another one that both count; 0 if none do."""
        told = log_softmax(logits.float() / self.settings.temperature, 2)
        pairs = -torch.einsum("gbk,vbk->gvb", goal, told)
        same = torch.eye(len(goal), len(logits), dtype=torch.bool, device=goal.device)
        used = goal_counts[:, None] & counts & ~same[:, :, None]
        return torch.where(used, pairs, 0.0).sum() / used.sum().clamp_min(1)

    @torch.no_grad()
    def targets(
        self, pixels: Float[Tensor, "b c y x"], valid: Bool[Tensor, "b *channel y x"] | None = None
    ) -> tuple[Float[Tensor, "b one prototype"], Bool[Tensor, "b one prototype"]]:
        """(the teacher's probabilities for whole images, where an image has a valid pixel)."""
        counts = each_channel(valid, pixels).flatten(1).any(1)
        if valid is not None:
            pixels, _ = fill(pixels, valid, self.encoder.patch)
        answers = self.teacher_head(self.teacher.tokens(pixels)[:, 0])
        found = self.goal(answers[None], counts[None])[0, :, None]
        return found, counts[:, None, None].expand_as(found)

    @torch.no_grad()
    def stepped(self, done: float) -> None:
        """After an optimiser step, `done` (0..1) of the training behind it: teacher and centre follow."""
        s = self.settings
        decay = decay_at(round(1e6 * done), 10**6, start=s.decay[0], end=s.decay[1])
        follow(self.teacher, self.encoder, decay=decay)
        follow(self.teacher_head, self.head, decay=decay)
        self.done.fill_(done)
        answers, self._answers = self._answers, []
        if answers:
            one = torch.cat(answers).float()
            self.centre.lerp_(_mean_of_processes(one), 1 - s.centre_decay)

    def _edges(self, pixels: Tensor, valid: Tensor | None) -> Tensor:
        """Mean ratio gradient over channels and radii, (b, y, x); 0 where it is not known."""
        s, ok = self.settings, each_channel(valid, pixels)
        amplitude = torch.pow(10.0, torch.where(ok, pixels, 0.0) * (s.span_db / 20))
        value, counts = ratio_gradients(amplitude, radii=s.radii, valid=ok)
        return torch.where(counts, value, 0.0).mean((1, 2))


def _of_views(some: Crops, network: Callable[[Tensor], Tensor]) -> Float[Tensor, "view b value"]:
    """What `network` gives of all crops, at once."""
    return network(some.pixels.flatten(0, 1)).unflatten(0, some.counts.shape)


def _mean_of_processes(answers: Float[Tensor, "n prototype"]) -> Float[Tensor, " prototype"]:
    """Mean over the answers of all processes; 0 where there are none."""
    total = torch.cat([answers.sum(0), answers.new_tensor([float(len(answers))])])
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(total)
    return total[:-1] / total[-1].clamp_min(1)
