"""Handwritten-looking digits drawn by a program, so that a network can be trained without downloading anything.

    images, labels = strokes(60_000)        # uint8 (60000, 28, 28, 1), int64 (60000,)

There are several ways to write each digit (WAYS): a few pen strokes through control points. For an image the points
are shaken, bent, slanted, turned and squeezed, joined by smooth curves, inked with a round pen of random width,
and placed as MNIST places its digits: filling a 20 x 20 box, the centre of mass in the middle of 28 x 28
pixels, ink 255 on 0. Ways and spreads were chosen by looking at MNIST's training images; none of them is in here.

Notation
    n     image of a block of BLOCK images            p     control point of a way, padded to the longest way
    c     curve between two neighbouring points       k     sample on a curve; straight lines join the samples
    x, y  position, x to the right and y down: the last axis of an array of positions holds these two
"""

import functools

import numpy as np

SIZE, BOX = 28, 20      # pixels: the side of an image, and of the box in it that the digit fills
BLOCK = 1000            # images drawn from one child generator: strokes(100, s) is the beginning of strokes(1000, s)
SAMPLES = 7             # points per curve, both ends included

# (digit, how often compared with the digit's other ways, name, strokes).
# A stroke lists the points "x,y" that the pen passes in a square of side 100; "!" is a sharp turn, "/" lifts the pen.
WAYS = (
    (0, 4, "round",            "62,3 30,12 7,48 18,86 48,98 78,86 94,50 82,14 54,2 34,10"),
    (0, 2, "overlapping",      "74,12 46,4 16,28 10,70 36,97 72,88 92,52 80,14 52,2 30,16"),
    (0, 1, "hooked",           "38,22 54,8 34,8 12,44 22,84 52,98 80,78 88,42 70,10 46,4"),
    (0, 1, "crossed",          "30,4 44,10 18,28 8,60 28,92 58,97 86,76 92,40 74,10 50,4 26,18"),
    (0, 1, "open",             "44,4 20,20 10,54 26,88 54,97 80,78 88,42 74,12 58,6"),
    (1, 12, "bar",             "52,0 50,50 48,100"),
    (1, 2, "flag",             "26,24 54,0! 52,50 50,100"),
    (1, 1, "flag and foot",    "24,24 52,0! 52,50 50,98 / 15,98 85,97"),
    (2, 3, "plain",            "15,25 25,8 50,0 76,20 58,55 12,97! 50,95 90,98"),
    (2, 2, "small loop",       "12,24 24,6 50,0 74,20 62,55 30,92 12,94 14,80 34,80 60,90 92,94"),
    (2, 2, "large loop",       "14,20 44,0 74,18 66,50 40,86 14,97 6,80 24,66 56,76 94,96"),
    (2, 1, "loop, tail up",    "14,18 44,0 72,18 66,50 44,84 18,98 6,84 28,72 58,82 96,74"),
    (2, 2, "high loop",        "16,22 40,2 68,10 68,42 48,80 22,94 12,76 30,60 64,68 86,99"),
    (2, 1, "like a Z",         "12,12 40,4 78,8! 44,52 10,96! 50,92 92,94"),
    (2, 2, "steep",            "24,20 46,0 64,20 54,60 38,96! 64,88 94,92"),
    (2, 1, "low bar",          "22,20 46,0 66,20 56,60 44,90 16,97! 56,90 94,88"),
    (2, 1, "round foot",       "18,22 46,0 74,22 50,56 18,84 26,97 60,92 90,94"),
    (3, 3, "pointed waist",    "16,16 28,4 52,0 76,20 40,46! 70,50 84,72 58,97 30,98 10,86"),
    (3, 2, "round waist",      "16,14 48,0 76,18 58,44 38,48 60,50 84,72 58,98 10,86"),
    (3, 1, "flat top",         "14,6 48,4 80,4! 42,42! 72,52 82,74 60,97 12,90"),
    (3, 1, "looped waist",     "14,16 50,0 76,20 54,48 38,52 42,42 66,48 86,72 58,98 12,90"),
    (3, 2, "short tail",       "16,14 50,2 72,20 42,46! 68,56 76,76 56,98"),
    (3, 1, "small head",       "20,10 46,0 66,16 42,38! 70,46 84,72 54,98 8,90"),
    (4, 3, "open",             "24,6 18,30 12,55! 50,54 90,50 / 76,4 70,50 64,100"),
    (4, 2, "open, round",      "22,5 14,40 26,54 54,50 78,40 / 80,2 72,50 64,100"),
    (4, 1, "closed",           "66,100 70,50 76,0! 42,32 8,60! 50,60 96,58"),
    (4, 1, "cup",              "14,6 12,40 26,54 56,48 78,8! 74,50 66,100"),
    (5, 3, "one stroke",       "84,4 34,5! 26,42! 58,40 78,64 60,94 12,92"),
    (5, 2, "curled",           "84,6 36,8! 28,42! 58,40 78,64 58,96 24,92 14,76"),
    (5, 2, "cap added",        "36,6 28,44! 58,40 80,66 56,97 10,88 / 36,7 98,0"),
    (5, 2, "like an S",        "82,4 46,8 28,30 54,48 70,72 48,97 12,90"),
    (5, 1, "steep",            "92,0 44,10! 32,42! 56,50 62,76 38,98 8,90"),
    (6, 3, "bowed",            "60,0 30,28 12,66 30,97 64,90 72,64 48,54 20,72"),
    (6, 2, "hooked",           "72,8 48,4 18,44 20,86 52,98 80,76 58,52 20,66"),
    (6, 2, "straight",         "44,0 22,44 18,84 44,98 66,80 48,64 20,80"),
    (6, 2, "like a b",         "28,0 18,40 18,82 48,98 82,80 74,56 46,58 20,84"),
    (6, 1, "low loop",         "36,0 16,46 14,88 46,98 84,72 66,52 42,66 32,92"),
    (6, 1, "high loop",        "56,0 22,28 8,68 36,98 76,84 80,56 56,42 26,62"),
    (6, 1, "wide loop",        "44,0 18,40 10,78 38,98 82,88 90,64 62,52 34,66 18,86"),
    (7, 3, "plain",            "10,8 46,6 86,5! 66,50 54,100"),
    (7, 2, "serif",            "10,26 14,6! 50,6 86,5! 66,50 58,100"),
    (7, 2, "barred",           "10,10 46,6 86,5! 64,50 50,100 / 28,54 88,50"),
    (7, 2, "bent",             "8,20 24,6 54,12 86,6! 64,48 56,100"),
    (7, 1, "round corner",     "8,14 46,4 82,14 74,44 58,100"),
    (8, 3, "from the right",   "78,14 50,2 24,20 48,46 76,74 50,98 22,78 48,50 76,24 66,6"),
    (8, 1, "two rings",        "50,2 24,22 50,46 76,22 50,2 / 50,46 18,72 50,98 82,72 50,46"),
    (8, 2, "slanted",          "82,12 58,2 34,14 44,40 64,66 58,92 34,97 24,80 46,52 72,28 84,10"),
    (8, 2, "crossed",          "72,8 48,2 28,16 42,40 66,70 60,94 38,97 26,80 42,58 68,30 76,12 60,2"),
    (8, 1, "raised arm",       "44,6 24,18 42,44 68,74 50,98 26,82 44,56 66,30 86,2"),
    (8, 1, "open top",         "70,4 34,4 18,24 46,46 68,74 50,98 32,78 48,50 84,14"),
    (8, 2, "from the left",    "24,12 50,2 76,20 54,46 26,74 50,98 78,78 54,50 26,24 36,6"),
    (8, 1, "small foot",       "80,16 48,2 18,24 46,50 62,78 48,98 34,80 48,54 80,32 72,8"),
    (9, 3, "straight tail",    "76,16 48,2 18,26 38,50 68,36 78,8! 76,55 72,100"),
    (9, 3, "slanted",          "80,12 56,3 26,22 30,46 56,42 82,10! 68,54 48,100"),
    (9, 2, "curved tail",      "76,16 48,2 20,28 42,50 72,30 78,12! 78,60 62,96 24,90"),
    (9, 2, "one sweep",        "72,10 40,6 18,34 40,50 72,18 70,56 60,100"),
    (9, 1, "closed ring",      "74,26 50,2 20,26 46,52 74,26 74,60 70,100"),
    (9, 1, "long arm",         "86,6 46,4 18,30 38,48 74,28! 70,60 66,100"),
    (9, 1, "narrow",           "70,20 56,2 36,16 34,38 52,42 70,12! 68,56 62,100"),
    (9, 1, "open",             "60,6 28,10 18,36 44,48 78,30 80,8! 76,54 70,100"),
)


def strokes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw `count` digits: images uint8 (count, 28, 28, 1) and labels int64 (count,), the same bytes for the same seed.

    Raises TypeError or ValueError for a count or seed that is no integer of at least 0.
    """
    count, seed = _natural("count", count), _natural("seed", seed)
    images = np.empty((count, SIZE, SIZE, 1), np.uint8)
    labels = np.empty(count, np.int64)
    for block, start in enumerate(range(0, count, BLOCK)):
        here = slice(start, min(start + BLOCK, count))
        wanted = here.stop - here.start
        curves, radius, used, digits = _write(np.random.default_rng([seed, block]))
        _compiled_ink()(curves[:wanted], radius[:wanted], used[:wanted], images[here, :, :, 0])
        labels[here] = digits[:wanted]
    return images, labels


def _natural(name, value):
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"strokes: {name}={value!r} is of type {type(value).__name__}, expected an integer")
    if value < 0:
        raise ValueError(f"strokes: {name}={value}, expected 0 or more")
    return int(value)


def _tables():
    """WAYS as arrays, W ways: digit, weight (W,), points (W,p,2), looseness (W,p,1), bends (W,c,4), curves in use (W,).

    bends[w, c] are four points a, b, c, d: the curve runs from b to c, and a and d only tell how it passes there.
    Where a stroke ends or turns sharply there is no such neighbour: a = b, or d = c.
    """
    ways = []
    for _, _, _, drawing in WAYS:
        points, looseness, bends = [], [], []
        for stroke in drawing.split("/"):
            marks = stroke.split()
            first = len(points)
            last = first + len(marks) - 1
            stops = {first, last} | {first + i for i, mark in enumerate(marks) if mark.endswith("!")}
            for i, mark in enumerate(marks, first):
                points.append([float(number) for number in mark.rstrip("!").split(",")])
                looseness.append([2.0 if i in (first, last) else 1.0])          # a stroke's ends wander most
            for b in range(first, last):
                c = b + 1
                bends.append([b if b in stops else b - 1, b, c, c if c in stops else c + 1])
        ways.append((points, looseness, bends))

    def padded(column, filler):
        longest = max(len(way[column]) for way in ways)
        return np.array([way[column] + [filler] * (longest - len(way[column])) for way in ways])

    digit, weight = np.array([way[0] for way in WAYS]), np.array([float(way[1]) for way in WAYS])
    used = np.array([len(bends) for _, _, bends in ways])
    return digit, weight, padded(0, [50.0, 50.0]), padded(1, [0.0]), padded(2, [0, 0, 0, 0]), used


DIGIT, WEIGHT, POINTS, LOOSENESS, BENDS, USED = _tables()


def _write(rng):
    """One block of pen paths: curves (n,c,k,2), pen radius (n,c,k) in pixels, curves in use (n,), digits (n,)."""
    digits = rng.permutation(np.arange(BLOCK) % 10)
    way = _choose_way(digits, rng)
    points = POINTS[way] + rng.normal(0, 3.0, (BLOCK,) + POINTS.shape[1:]) * LOOSENESS[way]  # (n,p,2)
    points = _slant(_bend(points / 50 - 1, rng), rng)                           # a square of side 2 about 0
    bends = BENDS[way][..., None]                                                       # (n,c,4,1)
    a, b, c, d = (np.take_along_axis(points, bends[:, :, i], 1)[:, :, None] for i in range(4))  # each (n,c,1,2)
    curves = _curve(a, b, c, d, roundness=rng.uniform(0.95, 1.25, (BLOCK, 1, 1, 1)))    # (n,c,k,2)

    pen = np.clip(rng.normal(1.35, 0.45, (BLOCK, 1, 1)), 0.6, 2.8)                      # radius in pixels
    pressure = 1 + np.einsum("nckx,nx->nck", curves, rng.normal(0, 0.12, (BLOCK, 2)))   # heavier towards one side
    radius = pen * np.clip(pressure, 0.6, 1.5)                                          # (n,c,k)

    # Curves not in use are point 0, which another curve visits, so they cannot widen the box.
    flat = np.ascontiguousarray(curves.reshape(BLOCK, -1, 2).swapaxes(1, 2))            # (n,2,c*k), quicker to search
    low, high = flat.min(2), flat.max(2)                                                # (n,2)
    room = BOX - 1 - 2 * pen[:, 0]                      # the pen and its soft edge reach beyond the path
    scale = room / (high - low).max(1, keepdims=True)                                   # (n,1)
    curves = (curves - ((low + high) / 2)[:, None, None]) * scale[:, None, None] + (SIZE - 1) / 2
    return curves, radius, USED[way], digits


def _choose_way(digits, rng):
    """For every digit (n,) one of its ways (n,), by weight."""
    way = np.empty(len(digits), np.int64)
    for digit in range(10):
        here, ways = digits == digit, np.flatnonzero(DIGIT == digit)
        way[here] = rng.choice(ways, here.sum(), p=WEIGHT[ways] / WEIGHT[ways].sum())
    return way


def _bend(points, rng):
    """Push points (n,p,2) along three slow waves per image: bent lines, unequal loops."""
    waves = (len(points), 1, 3)
    frequency, phase = rng.normal(0, 1.5, waves + (2,)), rng.uniform(0, 2 * np.pi, waves)
    push = rng.normal(0, 0.08, waves + (2,))
    height = np.sin((points[:, :, None] * frequency).sum(-1) + phase)                   # (n,p,3)
    return points + (height[..., None] * push).sum(2)


def _slant(points, rng):
    """Squeeze, slant (tops to the right, mostly) and turn the digits (n,p,2)."""
    each = (len(points), 1)
    width, slant, turn = np.exp(rng.normal(-0.08, 0.2, each)), rng.normal(0.15, 0.23, each), rng.normal(0, 0.1, each)
    x, y = points[..., 0] * width - points[..., 1] * slant, points[..., 1]              # (n,p)
    return np.stack((np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y), -1)


def _curve(a, b, c, d, roundness):
    """Cubic curves from b to c, each (n,c,1,2), sampled at k places: (n,c,k,2).

    At b a curve has the direction of the circle through a, b and c, which is that of the two chords, each divided
    by its squared length (so a chord of length 0 has no say). A slope as long as the chord makes arcs nearly round.
    """
    def squared(vector):
        return (vector ** 2).sum(-1, keepdims=True) + 1e-9

    chord = c - b
    speed = roundness * np.sqrt(squared(chord))
    ahead = chord / squared(chord)
    at_b, at_c = (ahead + other / squared(other) for other in (b - a, d - c))
    leave, arrive = (speed * way / np.sqrt(squared(way)) for way in (at_b, at_c))
    t = np.linspace(0, 1, SAMPLES)[:, None]                                             # (k,1)
    return b + t * (leave + t * (3 * chord - 2 * leave - arrive + t * (leave + arrive - 2 * chord)))


@functools.lru_cache(maxsize=None)
def _compiled_ink():
    # Here, not on top: it is slow to import, and most users of the package draw no digits.
    from numba import njit
    return njit(nogil=True, cache=True)(_ink)


def _ink(curves, radius, used, images):
    """Fill images (n,28,28) with the ink of curves (n,c,k,2), moved by whole pixels to centre its mass.

    A pixel's ink falls from 1 to 0 over the last pixel's width of the pen; where strokes meet, the darker one counts.
    """
    canvas = np.empty((SIZE, SIZE))
    for n in range(len(images)):
        canvas[:] = 0.0
        for c in range(used[n]):
            for k in range(curves.shape[2] - 1):
                x, y = curves[n, c, k]
                dx, dy = curves[n, c, k + 1, 0] - x, curves[n, c, k + 1, 1] - y
                r, dr = radius[n, c, k], radius[n, c, k + 1] - radius[n, c, k]
                square = max(dx * dx + dy * dy, 1e-9)
                reach = r + max(dr, 0.0) + 0.5          # no pixel further than this from the line gets ink
                for i in range(max(0, int(min(y, y + dy) - reach) + 1), min(SIZE, int(max(y, y + dy) + reach) + 1)):
                    for j in range(max(0, int(min(x, x + dx) - reach) + 1), min(SIZE, int(max(x, x + dx) + reach) + 1)):
                        t = min(max(((j - x) * dx + (i - y) * dy) / square, 0.0), 1.0)      # nearest place on the line
                        away = (j - x - t * dx) ** 2 + (i - y - t * dy) ** 2
                        if away < reach * reach:
                            canvas[i, j] = max(canvas[i, j], min(r + t * dr + 0.5 - np.sqrt(away), 1.0))
        mass = row = column = 0.0
        for i in range(SIZE):
            mass += canvas[i].sum()
            row += i * canvas[i].sum()
            column += i * canvas[:, i].sum()
        # MNIST's centre is the corner of pixel (14, 14), read as its position: its images average 14.0, not 13.5.
        down, right = int(np.rint(SIZE / 2 - row / mass)), int(np.rint(SIZE / 2 - column / mass))
        for i in range(SIZE):
            for j in range(SIZE):
                inside = 0 <= i - down < SIZE and 0 <= j - right < SIZE
                images[n, i, j] = np.uint8(255 * canvas[i - down, j - right] + 0.5) if inside else 0
