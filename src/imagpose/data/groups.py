"""Which of a person's views stand in the slots of a training canvas, for any number of views. Source: paper §3.3; own."""

from __future__ import annotations

import numpy as np


def slot_views(
    count: int, visible: np.ndarray, repeat_probability: float, rng: np.random.Generator
) -> tuple[np.ndarray, int]:
    """Draw the view of each slot, and the one that F_C is made of.

    Slots show different views while there are enough. Fewer views are shared out between visible and masked slots, in
    proportion, and repeated there as evenly as possible: no target is given among the sources, and no canvas shows one
    view in all slots. Some canvases show one view in all visible slots (as T2 lays them), some one in all masked slots
    beside their sources (T1).

    F_C is made of one of the visible views; where all slots are masked, of a view that is not on the canvas, or of any
    if all are on it.

    Args:
        count: number of the person's views, at least 2.
        visible: bool (V,), True for source slots, False for target slots, of which there is at least one.
        repeat_probability: of showing one view in all visible slots, and, drawn apart, in all masked ones; 0..1.
        rng: decides.

    Returns:
        int64 (V,) numbers of views, and the number of one view.

    Raises:
        ValueError: fewer than 2 views, or no masked slot.
    """
    slots, num_visible = len(visible), int(visible.sum())
    if count < 2 or num_visible == slots:
        raise ValueError(f"{count} views and {slots - num_visible} masked slots; at least 2 and 1 are needed")
    order = rng.permutation(count)
    num_sources = num_visible
    if count < slots and num_visible:
        num_sources = min(max(round(count * num_visible / slots), 1), count - 1)
    repeats = rng.random(2) < repeat_probability
    views = np.empty(slots, dtype=np.int64)
    views[visible] = _fill(order[:num_sources], num_visible, repeats[0])
    views[~visible] = _fill(order[num_sources:], slots - num_visible, repeats[1] and num_visible > 0)
    candidates = views[visible]
    if not num_visible:
        candidates = order[slots:] if count > slots else order
    return views, int(rng.choice(candidates))


def _fill(views: np.ndarray, slots: int, repeat: bool) -> np.ndarray:
    return np.resize(views[:1] if repeat else views, slots)
