"""One view of a person as it is stored: encoded picture, key points, mask, and where it came from. Source: own."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from imagpose.people.outfit import PART_NAMES
from imagpose.pictures import DAMAGE, encoded_picture, fit_view
from imagpose.pose import Pose


@dataclass(frozen=True, eq=False)
class ViewRecord:
    """One view.

    Attributes:
        identity: who is shown.
        view: name of the view, its own among the views of the identity.
        picture: RGB picture as PNG or JPEG.
        width, height: of the picture in pixels.
        keypoints: float32 (18, 3): x, y in pixels of the picture, confidence 0..1 (0: missing).
        mask: grey picture as PNG, 255 on the person and 0 elsewhere, of the picture's size; None where unknown.
        split: "train", "validation", "test" or another name.
        source_file: what it was made from, relative to the raw data's folder.
        style: name of the style that it was rendered in (`people.world.STYLE_NAMES`); None where unknown, as of photographs.
        parts: grey picture as PNG whose values index `people.outfit.PART_NAMES` (0 outside of the person), of the
            picture's size; None where unknown.
    """

    identity: str
    view: str
    picture: bytes
    width: int
    height: int
    keypoints: np.ndarray
    mask: bytes | None
    split: str
    source_file: str
    style: str | None = None
    parts: bytes | None = None

    @property
    def name(self) -> str:
        """Name in lists of pairs and in messages."""
        return f"{self.identity}/{self.view}"

    @property
    def pose(self) -> Pose:
        """The key points in the picture's frame."""
        return Pose(self.keypoints, self.width, self.height)

    def decode(self) -> Image.Image:
        """The RGB picture."""
        return self.stored("picture", ("PNG", "JPEG")).convert("RGB")

    def foreground(self) -> np.ndarray | None:
        """The mask as bool (H, W), True on the person; None where unknown."""
        return None if self.mask is None else np.asarray(self.stored("mask").convert("L")) > 127

    def part_map(self) -> np.ndarray | None:
        """The parts as uint8 (H, W), index into `people.outfit.PART_NAMES`; None where unknown."""
        return None if self.parts is None else np.asarray(self.stored("parts").convert("L"))

    def stored(self, name: str, formats: tuple[str, ...] = ("PNG",)) -> Image.Image:
        """What is stored as "picture", "mask" or "parts", as it is.

        Raises:
            ValueError: it is damaged, or of another size than the record says.
        """
        stored = f"the stored {name} of {self.name}"
        try:
            picture = Image.open(io.BytesIO(getattr(self, name)), formats=formats)
            picture.load()
        except UnidentifiedImageError:
            raise ValueError(f"{stored} is not a {' or '.join(formats)}: prepare the data set again") from None
        except (*DAMAGE, Image.DecompressionBombError) as error:
            raise ValueError(f"{stored} is damaged ({error}): prepare the data set again") from None
        if picture.size != (self.width, self.height):
            raise ValueError(f"{stored} has {picture.height}x{picture.width} pixels, not {self.height}x{self.width}")
        return picture

    def check(self) -> None:
        """Look at every value.

        Raises:
            ValueError: key points, picture, mask or parts are not what is said above; the message names the view.
        """
        try:
            _ = self.pose
        except ValueError as error:
            raise ValueError(f"the stored pose of {self.name}: {error}") from None
        self.decode()
        self.foreground()
        parts = self.part_map()
        if parts is not None and parts.max() >= len(PART_NAMES):
            raise ValueError(f"the stored parts of {self.name} hold {parts.max()}; 0 to {len(PART_NAMES) - 1} expected")


def identity_of(name: str) -> str:
    """The identity of a view, from the view's name."""
    return name.rpartition("/")[0]


def make_record(
    picture: Image.Image,
    pose: Pose,
    *,
    identity: str,
    view: str,
    split: str,
    source_file: str,
    mask: Image.Image | None = None,
    size: tuple[int, int] | None = None,
    encoded: bytes | None = None,
    style: str | None = None,
    parts: np.ndarray | None = None,
) -> ViewRecord:
    """Encode a view, in a stated size or as it is.

    Args:
        picture: RGB.
        pose: in the picture's frame.
        identity, view, split, source_file: see `ViewRecord`.
        mask: of the picture's size, bright on the person.
        size: height and width that the view is brought to by `pictures.fit_view` (aspect kept, edges replicated); None
            keeps the picture's own.
        encoded: the picture's file, PNG or JPEG, stored as it is where the size does not change; without it the picture
            is stored as PNG, which loses nothing.
        style: see `ViewRecord`.
        parts: uint8 (H, W) part map of the picture's size; only for views that keep their size.

    Raises:
        ValueError: the pose is in another frame, or the mask or part map of another size, than the picture; a part map
            of a view that is brought to another size.
    """
    width, height = picture.size
    if (pose.width, pose.height) != (width, height):
        raise ValueError(f"the pose is in a frame of {pose.height}x{pose.width}, the picture has {height}x{width}")
    if mask is not None and mask.size != (width, height):
        raise ValueError(f"the mask has {mask.height}x{mask.width} pixels, the picture {height}x{width}")
    if parts is not None and parts.shape != (height, width):
        raise ValueError(f"the part map is {parts.shape[0]}x{parts.shape[1]}, the picture {height}x{width}")
    if size is not None and size != (height, width):
        if parts is not None:
            raise ValueError(
                f"a view with a part map keeps its size of {height}x{width}, {size[0]}x{size[1]} asked for"
            )
        height, width = size
        picture, pose, encoded = fit_view(picture, width, height), pose.fit(width, height), None
        mask = None if mask is None else fit_mask(mask, width, height)
    return ViewRecord(
        identity=identity,
        view=view,
        picture=encoded or encoded_picture(picture, "PNG"),
        width=width,
        height=height,
        keypoints=pose.keypoints,
        mask=None if mask is None else encoded_picture(mask.convert("L").point(_threshold), "PNG"),
        split=split,
        source_file=source_file,
        style=style,
        parts=None if parts is None else encoded_picture(Image.fromarray(parts), "PNG"),
    )


def fit_mask(mask: Image.Image, width: int, height: int) -> Image.Image:
    """The mask of the view that `pictures.fit_view` makes of its picture; grey, with soft edges."""
    return fit_view(mask.convert("RGB"), width, height).convert("L")  # fit_view takes RGB


def _threshold(value: int) -> int:
    return 255 if value > 127 else 0
