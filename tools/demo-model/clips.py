"""Synthetic clips: one coloured shape travelling over a flat background, rendered with numpy alone.

A clip is float32 [frames, 64, 64, 3] in 0..1. Shapes are large (20 to 26 px) and anti-aliased by their signed
distance, so that they survive a VAE that keeps one latent position for 8x8 pixels.

Effects (what the adapters teach) change either the path or the look, so they combine freely:
    bounce  the centre oscillates across the direction of travel,
    neon    a glowing outline on black instead of a filled shape on the background,
    trail   fading copies of the shape behind it.
"""

import itertools
from dataclasses import dataclass

import numpy as np

SIZE, FRAMES = 64, 17
COLORS = {
    "red": (0.90, 0.12, 0.12), "green": (0.12, 0.70, 0.20), "blue": (0.12, 0.28, 0.92),
    "yellow": (0.95, 0.88, 0.12), "purple": (0.58, 0.16, 0.78), "orange": (0.96, 0.50, 0.08),
}
SHAPES = ("circle", "square", "triangle")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}  # (x, y), y grows downwards
BACKGROUNDS = {"dark": 0.12, "gray": 0.45, "light": 0.88}
EFFECTS = ("bounce", "neon", "trail")
COMBINATIONS = list(itertools.product(COLORS, SHAPES, DIRECTIONS, BACKGROUNDS))  # 216

TRAVEL = 28.0             # px from the first frame to the last
BOUNCE = (6.0, 8.0)       # amplitude in px, period in frames
GHOSTS = (0.42, 0.33, 0.24, 0.15)  # opacity of the trail's copies, nearest first
GHOST_SPACING = 2.6       # frames of travel between two copies
EDGE = 1.6                # px over which an edge blends


@dataclass(frozen=True)
class Scene:
    """Everything that determines a clip. `size` is the side of the shape's bounding box, `middle` the centre of its path."""

    color: str
    shape: str
    direction: str
    background: str
    effects: tuple = ()
    size: float = 23.0
    middle: tuple = (32.0, 32.0)

    @property
    def combination(self):
        return (self.color, self.shape, self.direction, self.background)


def held_out(seed, fraction=0.2):
    """The combinations kept out of training: a fifth of all (43), chosen by `seed`."""
    order = np.random.default_rng([seed, 43]).permutation(len(COMBINATIONS))
    return {COMBINATIONS[i] for i in order[: round(fraction * len(COMBINATIONS))]}


def random_scene(rng, combination, effects=()):
    """A scene of `combination` with its own size and place; the shape always stays inside the frame."""
    across = 3.0 if "bounce" in effects else 7.0
    horizontal = DIRECTIONS[combination[2]][0] != 0
    along, cross = rng.uniform(-2.5, 2.5), rng.uniform(-across, across)
    offset = (along, cross) if horizontal else (cross, along)
    middle = (SIZE / 2 + offset[0], SIZE / 2 + offset[1])
    return Scene(*combination, effects=tuple(effects), size=rng.uniform(20.0, 26.0), middle=middle)


def path(scene, times):
    """Centres [len(times), 2] in px at `times` (frames, may be fractional or negative)."""
    step = np.array(DIRECTIONS[scene.direction], np.float32)
    times = np.asarray(times, np.float32)[:, None]
    centres = np.array(scene.middle, np.float32) + step * (times / (FRAMES - 1) - 0.5) * TRAVEL
    if "bounce" in scene.effects:
        amplitude, period = BOUNCE
        centres = centres + np.abs(step[::-1]) * amplitude * np.sin(2 * np.pi * times / period)
    return centres


def distance(scene, centres):
    """Signed distance [frames, 64, 64] in px from the shape's edge, negative inside."""
    axis = np.arange(SIZE, dtype=np.float32) + 0.5
    x = axis[None, None, :] - centres[:, 0, None, None]
    y = axis[None, :, None] - centres[:, 1, None, None]
    half = np.float32(scene.size / 2)
    if scene.shape == "circle":
        return np.sqrt(x * x + y * y) - half
    if scene.shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - half
    # An upright triangle that fills its bounding box: slanted sides of slope 2, and the base.
    slant = (2 * np.abs(x) - y - half) / np.float32(np.sqrt(5))
    return np.maximum(slant, y - half)


def cover(signed):
    """How much of a pixel lies inside, from the signed distance of its middle."""
    return np.clip(0.5 - signed / EDGE, 0, 1)


def render(scene, times=range(FRAMES)):
    """The clip at `times`: float32 [len(times), 64, 64, 3] in 0..1."""
    times = np.asarray(times, np.float32)
    neon = "neon" in scene.effects
    color = np.array(COLORS[scene.color], np.float32)
    if neon:
        color = color / color.max()
    layers = [(1.0, 0.0)]
    if "trail" in scene.effects:
        layers += [(opacity, GHOST_SPACING * (i + 1)) for i, opacity in enumerate(GHOSTS)]
    amount = np.zeros((len(times), SIZE, SIZE), np.float32)
    for opacity, delay in layers:
        signed = distance(scene, path(scene, times - delay))
        if neon:
            shown = np.minimum(np.exp(-((signed / 2.0) ** 2)) + 0.30 * np.exp(-np.abs(signed) / 3.5), 1.0)
        else:
            shown = cover(signed)
        amount = np.maximum(amount, opacity * shown)
    level = 0.0 if neon else BACKGROUNDS[scene.background]
    return (level + amount[..., None] * (color - level)).astype(np.float32)
