"""What the denoiser makes of held-out people, seen through the pipeline that users call: pictures and measures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, ImageDraw

from imagpose.metrics.pictures import measure_pictures
from imagpose.metrics.pixels import psnr
from imagpose.models.autoencoder import decode_latents
from imagpose.pipeline import IMAGPosePipeline
from imagpose.pipeline.sampling import Sampling
from imagpose.pixels import Padding, bytes_to_signed, signed_to_bytes
from imagpose.pose import draw_skeleton
from imagpose.training.denoiser.data import CanvasData
from imagpose.training.denoiser.draw import CanvasDraw
from imagpose.training.denoiser.encode import FrozenNetworks
from imagpose.training.stage import ProgressReport
from imagpose.views import ViewGrid

PROGRESS_PEOPLE, PROGRESS_STEPS = 40, 10
_PROGRESS_ROWS = 12
_TARGETS = 3
_TITLE_HEIGHT = 24

Items = TypeVar("Items", Sequence[int], np.ndarray)


class Preview:
    """Held-out people from their view 0, with noise that is fixed per person."""

    def __init__(self, pipeline: IMAGPosePipeline, data: CanvasData, at_once: int, sampling: Sampling) -> None:
        """Show what `pipeline`, with the weights to judge, makes of the people of `data`, `at_once` canvases at a time."""
        self.pipeline = pipeline
        self.data = data
        self.at_once = at_once
        self.sampling = sampling

    def targets(self, identity: int) -> list[int]:
        """Views 1, 2 and 3 of an identity; one that has fewer repeats them."""
        return [1 + target % (int(self.data.view_counts[identity]) - 1) for target in range(_TARGETS)]

    def generate(
        self, people: Sequence[int], scenario: str, steps: int | None = None, targets: int = _TARGETS
    ) -> np.ndarray:
        """The first `targets` of the people's `targets`; uint8 (people, targets, H, W, 3)."""
        self.pipeline.set_progress_bar_config(disable=True)
        sampling = self.sampling if steps is None else replace(self.sampling, steps=steps)
        images = []
        for chosen in _chunks(people, self.at_once):
            shown = [self.targets(identity)[:targets] for identity in chosen]
            sources = [self.data.view(identity, 0) for identity in chosen]
            images += self.pipeline(
                sources=[[picture] for picture, _ in sources],
                source_poses=[[pose] for _, pose in sources],
                target_poses=[
                    [self.data.view(identity, view)[1] for view in views]
                    for identity, views in zip(chosen, shown, strict=True)
                ],
                scenario=scenario,
                height=self.data.height,
                width=self.data.width,
                **sampling.arguments(),
                generator=[torch.Generator().manual_seed(sampling.seed + identity) for identity in chosen],
                return_dict=False,
            )[0]
        return np.stack([[np.asarray(picture) for picture in pictures] for pictures in images])

    def psnr(self, people: int) -> dict[str, float]:
        """``psnr`` of the targets of the first people over whole pictures, and ``psnr_of_copy`` of the source instead."""
        people = min(people, len(self.data.view_counts))
        truth = [self._picture(identity, view) for identity in range(people) for view in self.targets(identity)]
        generated = self.generate(range(people), "star").reshape(len(truth), *truth[0].shape)
        copied = [self._picture(identity, 0) for identity in range(people) for _ in range(_TARGETS)]
        return {
            name: float(np.mean([psnr(*pair) for pair in zip(pictures, truth, strict=True)]))
            for name, pictures in (("psnr", generated), ("psnr_of_copy", copied))
        }

    def rows(self, people: int) -> np.ndarray:
        """One row per person: source, then skeleton, output and truth of each target; uint8 (people * H, 10 * W, 3)."""
        people = min(people, len(self.data.view_counts))
        generated = self.generate(range(people), "star")
        rows = []
        for identity in range(people):
            row = [self._picture(identity, 0)]
            for target, view in enumerate(self.targets(identity)):
                row += [self._skeleton(identity, view), generated[identity, target], self._picture(identity, view)]
            rows.append(np.concatenate(row, axis=1))
        return np.concatenate(rows)

    def known_psnr(self, people: int, predict: Callable[[CanvasDraw], torch.Tensor]) -> dict[str, float]:
        """What is known before any sampling: the PSNR in the person's mask of one prediction from pure noise.

        From pure noise the prediction is the conditional mean; what it does not know, sampling draws at random.

        Args:
            people: how many, the first with four views or more.
            predict: clean latents (b, v, c, h, w) of the canvases of a draw.

        Returns:
            ``known_psnr`` of three views from one source, ``known_psnr_three`` of one from three sources, and
            ``known_psnr_of_copy`` of the source in the place of the three; nothing where nobody has four views.
        """
        chosen = np.flatnonzero(self.data.view_counts > _TARGETS)[:people]
        measures = {}
        for name, sources in (("known_psnr", 1), ("known_psnr_three", _TARGETS)):
            values: list[float] = []
            for part in _chunks(chosen, self.at_once):
                draw = self._draw(part, sources)
                pictures = self._decoded(predict(draw)[:, sources:].flatten(0, 1))
                targets = [(identity, view) for identity in part for view in range(sources, 1 + _TARGETS)]
                values += [self._psnr_in_mask(*pair, own) for pair, own in zip(targets, pictures, strict=True)]
            measures[name] = values
        measures["known_psnr_of_copy"] = [
            self._psnr_in_mask(identity, view, self._picture(identity, 0))
            for identity in chosen
            for view in range(1, 1 + _TARGETS)
        ]
        return {name: float(np.mean(values)) for name, values in measures.items() if values}

    def progress(self, known: dict[str, float], steps: int | None) -> ProgressReport:
        """View 1 of the first 40 people, or of all, by T1.

        Args:
            known: measures that the row begins with.
            steps: of sampling; None: as the settings say.

        Returns:
            Rows of source, skeleton, output and truth of 12 people; `known`, then the means of `measure_pictures` over
            the people whose mask is known and marks something, if there are any.
        """
        people = range(min(PROGRESS_PEOPLE, len(self.data.view_counts)))
        outputs = self.generate(people, "T1", steps, targets=1)[:, 0]
        rows = [
            np.concatenate(
                [self._picture(person, 0), self._skeleton(person, 1), outputs[person], self._picture(person, 1)], axis=1
            )
            for person in people[:_PROGRESS_ROWS]
        ]
        title = ", ".join(f"{name} {value:.4g}" for name, value in known.items())
        return ProgressReport(titled(np.concatenate(rows), title), known | self._blur_measures(outputs))

    def _blur_measures(self, outputs: np.ndarray) -> dict[str, float]:
        """The measures that a blur fails, of view 1 of the first people."""
        masks = {person: self.data.foreground(person, 1) for person in range(len(outputs))}
        marked = {person: mask for person, mask in masks.items() if mask is not None and mask.any()}
        if not marked:
            return {}
        parts = [self.data.parts(person, 1) for person in marked]
        truths = [self._picture(person, 1) for person in marked]
        return measure_pictures(
            [outputs[person] for person in marked],
            truths,
            list(marked.values()),
            None if any(own is None for own in parts) else [own for own in parts if own is not None],
            [self._picture(person, 0) for person in marked],
            self._reconstructed(truths),
        )

    @torch.no_grad()
    def autoencoder_alone(self, people: int) -> tuple[float, float]:
        """PSNR (dB) and detail correlation of view 0 of the first people through the autoencoder alone.

        In the person's mask; in whole pictures where it is not known. No denoiser with this autoencoder can be better.
        """
        truths, masks = [], []
        for person in range(min(people, len(self.data.view_counts))):
            mask, truth = self.data.foreground(person, 0), self._picture(person, 0)
            truths.append(truth)
            masks.append(np.ones(truth.shape[:2], bool) if mask is None or not mask.any() else mask)
        found = measure_pictures(self._reconstructed(truths), truths, masks)
        return found["psnr_mask"], found["detail_correlation"]

    def _reconstructed(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Pictures uint8 (H, W, 3) through the autoencoder alone."""
        frozen = FrozenNetworks.of(self.pipeline)
        made: list[np.ndarray] = []
        for chunk in torch.split(bytes_to_signed(np.stack(pictures)), self.at_once):
            made += list(self._decoded(frozen.latents(chunk.to(self.pipeline.vae.device))))
        return made

    def _decoded(self, latents: torch.Tensor) -> np.ndarray:
        """Pictures uint8 (b, H, W, 3) of latents (b, c, h, w)."""
        padding = Padding.to_multiple(self.data.height, self.data.width, self.pipeline.view_multiple)
        return signed_to_bytes(padding.crop(decode_latents(self.pipeline.vae, latents))).cpu().numpy()

    def _draw(self, identities: np.ndarray, sources: int) -> CanvasDraw:
        """Views 0 to 3 of identities on 2 x 2 canvases, the first ones as sources, at the last timestep."""
        count = len(identities)
        mask = (torch.arange(1 + _TARGETS) < sources).float().expand(count, -1)
        kept, last = torch.ones(count), len(self.pipeline.scheduler.alphas_cumprod) - 1
        return CanvasDraw(
            grid=ViewGrid(2, 2),
            half=False,
            samples=[(0, 0, int(identity)) for identity in identities],
            identities=identities,
            views=np.tile(np.arange(1 + _TARGETS), (count, 1)),
            mask=mask,
            feature_views=np.zeros(count, dtype=np.int64),
            keep_image_tokens=kept,
            keep_texture=kept,
            keep_source_poses=kept,
            timesteps=torch.full((count,), last),
        )

    def _psnr_in_mask(self, identity: int, view: int, picture: np.ndarray) -> float:
        """PSNR (dB) of a picture (H, W, 3), 0 to 255, in the person's mask; in all of it where that is not known."""
        mask, truth = self.data.foreground(identity, view), self._picture(identity, view)
        return psnr(picture, truth) if mask is None or not mask.any() else psnr(picture, truth, mask)

    def _picture(self, identity: int, view: int) -> np.ndarray:
        return np.asarray(self.data.view(identity, view)[0])

    def _skeleton(self, identity: int, view: int) -> np.ndarray:
        return np.asarray(draw_skeleton(self.data.view(identity, view)[1]))


def titled(picture: np.ndarray, title: str) -> np.ndarray:
    """A picture uint8 (H, W, 3) with a line of text above it."""
    band = Image.new("RGB", (picture.shape[1], _TITLE_HEIGHT))
    ImageDraw.Draw(band).text((4, 4), title, fill=(255, 255, 255))
    return np.concatenate([np.asarray(band), picture])


def _chunks(items: Items, at_once: int) -> list[Items]:
    return [items[start : start + at_once] for start in range(0, len(items), at_once)]
