"""What a clip shows, by simple geometry. Every function takes frames as float [17, 64, 64, 3] in 0..1.

All steps are plain arithmetic, so that the same formulas can be written in another language.

    level       mean of the 2 px border over all frames and channels
    ground      median colour of the border, per frame
    contrast    largest |pixel - ground| of the three channels, [17, 64, 64]
    mask        contrast > half of the frame's peak, where the peak is the 40th largest contrast (so a few stray
                pixels do not set it) and at least 0.05
"""

import numpy as np

PALETTE = {
    "red": (0.90, 0.12, 0.12), "green": (0.12, 0.70, 0.20), "blue": (0.12, 0.28, 0.92),
    "yellow": (0.95, 0.88, 0.12), "purple": (0.58, 0.16, 0.78), "orange": (0.96, 0.50, 0.08),
}


def border(frames):
    """The pixels of the 2 px border, [17, 496, 3]."""
    ring = np.ones(frames.shape[1:3], bool)
    ring[2:-2, 2:-2] = False
    return frames[:, ring]


def contrast(frames):
    ground = np.median(border(frames), axis=1)
    return np.abs(frames - ground[:, None, None]).max(axis=3)


def masks(frames):
    """Foreground per frame, bool [17, 64, 64]."""
    distance = contrast(frames)
    peak = np.sort(distance.reshape(len(frames), -1), axis=1)[:, -40]
    return distance > 0.5 * np.maximum(peak, 0.05)[:, None, None]


def box(mask):
    """(top, bottom, left, right) of a mask, bottom and right exclusive; rows and columns of one pixel do not count."""
    rows, columns = np.nonzero(mask.sum(1) >= 2)[0], np.nonzero(mask.sum(0) >= 2)[0]
    if len(rows) == 0 or len(columns) == 0:
        return 0, 0, 0, 0
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def centres(frames):
    """The middle (x, y) of each frame's box, [17, 2]."""
    return np.array([((left + right) / 2, (top + bottom) / 2) for top, bottom, left, right in map(box, masks(frames))])


def background(frames):
    """dark below a level of 0.28, gray below 0.66, else light."""
    level = border(frames).mean()
    return "dark" if level < 0.28 else "gray" if level < 0.66 else "light"


def color(frames):
    """The palette entry nearest to the mean colour of the foreground, both divided by their largest channel."""
    mean = frames[masks(frames)].mean(axis=0)
    mean = mean / max(mean.max(), 1e-6)
    return min(PALETTE, key=lambda name: np.abs(mean - np.array(PALETTE[name]) / max(PALETTE[name])).sum())


def spans(mask):
    """Rows of (row, first, last) of the mask inside its box, [n, 3]: the area that it surrounds, all shapes being convex."""
    top, bottom, left, right = box(mask)
    found = []
    for row in range(top, bottom):
        columns = np.nonzero(mask[row, left:right])[0]
        if len(columns):
            found.append((row, left + columns[0], left + columns[-1]))
    return np.array(found, int).reshape(-1, 3)


def fill(frames):
    """Median over the frames of (area spanned by the mask) / (area of its box): square 1, circle 0.79, triangle 0.5.

    Spans count from their first to their last pixel, so an outline counts like the shape that it surrounds.
    """
    ratios = []
    for mask in masks(frames):
        top, bottom, left, right = box(mask)
        _, first, last = spans(mask).T
        ratios.append((last - first + 1).sum() / max((bottom - top) * (right - left), 1))
    return float(np.median(ratios))


def shape(frames):
    """triangle below a fill of 0.65, circle below 0.89, else square."""
    ratio = fill(frames)
    return "triangle" if ratio < 0.65 else "circle" if ratio < 0.89 else "square"


def shift(frames):
    """How far the centre travels, (x, y) in px: mean of the last 4 frames less mean of the first 4."""
    path = centres(frames)
    return path[-4:].mean(axis=0) - path[:4].mean(axis=0)


def direction(frames):
    """The sign of the larger component of the shift; none when that is below 6 px."""
    x, y = shift(frames)
    if max(abs(x), abs(y)) < 6:
        return "none"
    if abs(x) > abs(y):
        return "right" if x > 0 else "left"
    return "down" if y > 0 else "up"


def oscillation(frames):
    """Half of the peak-to-peak, in px, of the centre's component across the travel, less its straight-line fit."""
    x, y = shift(frames)
    across = centres(frames)[:, 1 if abs(x) > abs(y) else 0]
    times = np.arange(len(across)) - (len(across) - 1) / 2
    rest = across - across.mean() - times * (times @ across) / (times @ times)
    return float(rest.max() - rest.min()) / 2


def bounces(frames):
    return oscillation(frames) > 2.5


def middle(mask):
    """The centre of gravity (x, y) of what the spans of the mask cover, rounded half up."""
    rows, first, last = spans(mask).T
    lengths = last - first + 1
    total = max(lengths.sum(), 1)
    return tuple(int(np.floor((lengths * at).sum() / total + 0.5)) for at in ((first + last) / 2, rows))


def hollow(frames):
    """Brightness in the middle 5x5 px of the shape over that of the foreground, median over the frames: 1 filled, about 0.2 outline.

    The middle is that of its area: in a triangle the middle of the box lies near the sides.
    """
    ratios = []
    brightness = frames.max(axis=3)
    for frame, mask in zip(brightness, masks(frames)):
        x, y = middle(mask)
        ratios.append(frame[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].mean() / max(frame[mask].mean(), 1e-6) if mask.any() else 1.0)
    return float(np.median(ratios))


def neon(frames):
    """A border darker than 0.06 and an interior below 0.6 of the outline's brightness."""
    return border(frames).mean() < 0.06 and hollow(frames) < 0.6


def wake(frames):
    """Contrast over the frame's peak in the 8 px behind the box less that in the 8 px before it, mean over the frames."""
    heading, distance, total = direction(frames), contrast(frames), []
    for frame, mask in zip(distance, masks(frames)):
        top, bottom, left, right = box(mask)
        inner = slice(top + 4, bottom - 4), slice(left + 4, right - 4)  # without the corners
        sides = {
            "left": frame[inner[0], max(left - 10, 0) : max(left - 2, 0)],
            "right": frame[inner[0], right + 2 : right + 10],
            "up": frame[max(top - 10, 0) : max(top - 2, 0), inner[1]],
            "down": frame[bottom + 2 : bottom + 10, inner[1]],
        }
        behind = {"left": "right", "right": "left", "up": "down", "down": "up"}.get(heading)
        if behind and sides[behind].size and sides[heading].size:
            total.append((sides[behind].mean() - sides[heading].mean()) / max(frame.max(), 0.05))
    return float(np.mean(total)) if total else 0.0


def trails(frames):
    return wake(frames) > 0.05


def verdict(frames):
    """All of it, for a report."""
    return {
        "color": color(frames), "shape": shape(frames), "direction": direction(frames), "background": background(frames),
        "bounce": bounces(frames), "neon": neon(frames), "trail": trails(frames),
    }
