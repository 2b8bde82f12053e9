"""Pairs of pictures made by a program, to learn image-to-image translation from: a pencil drawing, and the painting
that it is a drawing of.

    pencil, paint = drawings(100)           # both uint8 (100, 256, 256, 3)

A scene is a few convex shapes, each in front of those before it. The drawing shows their outlines and hatches them with
parallel lines of their colour, on black. In the painting they are solid, their rims lit from the top left, they cast
shadows on the wall, and brush strokes follow the hatching. Whoever turns one into the other must fill the gaps between
the lines and light each rim by its direction: all of it can be seen from nearby, within RIM pixels of an edge and
SPACING between two lines.

One thing the drawing does not tell: whether a shape is lighter along its lines or between them, a coin tossed for each
shape. Flat paint, and strokes of either kind, are then equally far from the truth on average.

Notation
    p     position of a pixel, (y, x) from a shape's centre, in the shape's own turned axes
    d     signed distance of each pixel from a shape's edge, in pixels, negative inside (exact inside polygons)
    n     direction that points out of the shape at the nearest piece of its edge, a unit vector (y, x)
"""
from typing import NamedTuple

import numpy as np

SIZE = 256
SPACING = 7.0           # pixels from one line of a hatching to the next
PENCIL = 1.0            # half the width of a pencil line
STROKE = 0.15           # how much lighter and darker brush strokes make a colour
RIM = 6.0               # pixels from an edge over which its light fades
SHADOW = 4              # pixels down and to the right
LIGHT = -np.sqrt(np.array([0.5, 0.5], np.float32))         # towards the light, (y, x): up and to the left
WALL = np.array([0.93, 0.90, 0.80], np.float32)            # what is behind all shapes
COLOURS = np.array([[0.80, 0.22, 0.18], [0.93, 0.62, 0.14], [0.24, 0.58, 0.30], [0.16, 0.42, 0.74], [0.50, 0.28, 0.62],
                    [0.15, 0.62, 0.66], [0.45, 0.33, 0.24]], np.float32)


class Shape(NamedTuple):
    """A convex shape: an ellipse with `radii` where corners is 0, otherwise a polygon inside of that ellipse."""
    centre: np.ndarray          # (y, x) in pixels
    radii: np.ndarray           # (2,) in pixels
    turn: float                 # radians
    corners: int
    colour: np.ndarray          # (3,) in [0, 1]
    hatching: float             # radians: the direction across the lines
    side: int                   # 1: lighter along the lines; -1: lighter between them


def drawings(count: int, seed: int = 0, size: int = SIZE, spacing: float = SPACING) -> tuple[np.ndarray, np.ndarray]:
    """Return `count` drawings and their paintings, both uint8 (count, size, size, 3), the same bytes for the same seed.

    drawings(100, s) is the beginning of drawings(1000, s). spacing: pixels between two lines of a hatching. Raises
    TypeError or ValueError for a count or seed that is no integer of at least 0, a size that is none of at least 32,
    or a spacing below 4.
    """
    for name, value, least in (("count", count, 0), ("seed", seed, 0), ("size", size, 32)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
            raise TypeError(f"drawings: {name} must be an integer, got {value!r}")
        if value < least:
            raise ValueError(f"drawings: {name} must be at least {least}, got {value}")
    if not spacing >= 4:
        raise ValueError(f"drawings: spacing must be at least 4 pixels, got {spacing!r}")
    drawn, painted = np.empty((2, count, size, size, 3), np.uint8)
    for place in range(count):
        rng = np.random.default_rng([seed, place])
        scene = [_random_shape(rng, size) for _ in range(rng.integers(6, 11))]
        for images, picture in zip((drawn, painted), _pictures(scene, size, spacing), strict=True):
            images[place] = np.round(255 * np.clip(picture, 0, 1))
    return drawn, painted


def _random_shape(rng, size) -> Shape:
    radii = rng.uniform(0.08, 0.24, 2) * size
    colour = COLOURS[rng.integers(len(COLOURS))] + rng.uniform(-0.06, 0.06, 3)
    return Shape(rng.uniform(0.05, 0.95, 2) * size, radii, rng.uniform(0, np.pi), rng.choice([0, 0, 3, 4, 5, 6]),
                 colour.astype(np.float32), rng.uniform(0, np.pi), rng.choice([-1, 1]))


def _edge(shape: Shape, size: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """d (size, size) and n (size, size, 2) of a shape moved down and to the right by `shift` pixels."""
    cos, sin = np.cos(shape.turn), np.sin(shape.turn)
    axes = np.array([[cos, -sin], [sin, cos]], np.float32)                   # columns: the shape's own axes
    y, x = np.ogrid[:size, :size]
    p = np.stack(np.broadcast_arrays(y, x), axis=-1).astype(np.float32) - (shape.centre + shift).astype(np.float32)
    p = p @ axes                                                            # (size, size, 2)
    if shape.corners:
        angles = 2 * np.pi * (np.arange(shape.corners) + 0.5) / shape.corners
        normals = np.stack((np.cos(angles), np.sin(angles)), axis=-1) / shape.radii       # (corners, 2)
        lengths = np.linalg.norm(normals, axis=-1)
        normals, reach = normals / lengths[:, None], np.cos(np.pi / shape.corners) / lengths
        away = p @ normals.T.astype(np.float32) - reach.astype(np.float32)  # (size, size, corners): from each side
        return away.max(axis=-1), (normals.astype(np.float32) @ axes.T)[away.argmax(axis=-1)]
    radii = shape.radii.astype(np.float32)
    slope = p / radii ** 2                                                  # half the gradient of |p / radii|^2
    level = np.maximum(np.linalg.norm(p / radii, axis=-1), np.float32(1e-6))        # the centre is far inside too
    steep = np.linalg.norm(slope, axis=-1) + np.float32(1e-9)
    return level * (level - 1) / steep, (slope / steep[..., None]) @ axes.T


def _over(picture, cover, colour) -> np.ndarray:
    """The picture (H, W, 3) with `colour` in front of it, where `cover` (H, W) is 1."""
    return picture + cover[..., None] * (colour - picture)


def _inside(d) -> np.ndarray:
    """How much of each pixel lies where d < 0: 1 inside, 0 outside, between them at the edge."""
    return np.clip(0.5 - d, 0, 1)


def _pictures(scene, size, spacing) -> tuple[np.ndarray, np.ndarray]:
    """The drawing and the painting of a scene, float32 (size, size, 3): outlines and hatchings on white paper; solid
    shapes with lit rims and shadows.
    """
    drawing = np.zeros((size, size, 3), np.float32)
    painting = np.broadcast_to(WALL, (size, size, 3))
    y, x = np.ogrid[:size, :size]
    for shape in scene:
        d, n = _edge(shape, size)
        cover = _inside(d)
        across = (np.cos(shape.hatching) * y + np.sin(shape.hatching) * x).astype(np.float32)
        stroke = np.cos(across * np.float32(2 * np.pi / spacing))           # 1 in the middle of a line
        to_line = np.abs((across + spacing / 2) % np.float32(spacing) - np.float32(spacing / 2))
        pencil = _inside(np.minimum(np.abs(d + PENCIL), to_line) - PENCIL)
        drawing = _over(_over(drawing, cover, np.float32(0)), cover * pencil, shape.colour)

        fallen = _inside(_edge(shape, size, SHADOW)[0] / 2)                 # a soft edge
        lit = 1 + 0.5 * (n @ LIGHT) * np.clip(1 + d / RIM, 0, 1)            # (size, size)
        paint = (lit + STROKE * shape.side * stroke)[..., None] * shape.colour
        painting = _over(painting * (1 - 0.45 * fallen)[..., None], cover, paint)
    return drawing, painting
