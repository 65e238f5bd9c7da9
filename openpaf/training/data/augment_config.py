"""How training crops are drawn, as ``[augment]`` says."""

from __future__ import annotations

from openpaf.training.tables import Count, Positive, PositiveOrZero, Share, Table


class AugmentConfig(Table, frozen=True, kw_only=True):
    """How training crops are drawn.

    Args:
        crop_px: Side of the square crop in px; a multiple of 8.
        person_px: The chosen person's longer side becomes a length in this range, log-uniform.
        max_enlarge: An image is enlarged by at most this factor.
        min_cover: An image is shrunk no further than to where its longer side covers this share of
            the crop's side; without it, a person who fills a small image leaves most of the crop
            gray. 0 lets every image shrink.
        rotation_deg: Standard deviation of the rotation in degrees; cut at three of them.
        shift: The person's center lies within this share of the crop's side from its center.
        flip: Probability of a mirrored crop.
        color: Strength of brightness, contrast and saturation changes.
        gray: Probability of a crop without color.
        blur: Probability of a blurred crop.
        occluders: Probability of a crop with pieces of other images pasted over joints.
        paste_people: Probability of a crop with a person of another image pasted into it.
    """

    crop_px: Count = 288
    person_px: tuple[Positive, Positive] = (48.0, 340.0)
    max_enlarge: Positive = 2.5
    min_cover: Share = 0.0
    rotation_deg: PositiveOrZero = 15.0
    shift: Share = 0.25
    flip: Share = 0.5
    color: Share = 0.3
    gray: Share = 0.05
    blur: Share = 0.1
    occluders: Share = 0.0
    paste_people: Share = 0.0

    def check(self) -> None:
        if self.crop_px % 8:
            raise ValueError(f"crop_px: expected a multiple of 8, got {self.crop_px}")
        if self.person_px[0] > self.person_px[1]:
            raise ValueError(f"person_px: expected two rising lengths, got {self.person_px}")
