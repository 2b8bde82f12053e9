"""README's small pictures of the lessons: parts of the kept ones, cut out and scaled to one width.

Run it after a lesson has drawn its picture anew: `python .ci/thumbnails.py`. For a new lesson add a line to PARTS; the
test of README's rows asks for a picture that begins like the lesson's name.
"""
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "tutorials" / "pictures"
WIDTH = 240
PARTS = {                   # picture -> left, top, right, bottom of the part, as shares of its width and height
    "01_stamps": (0.08, 0.06, 1.0, 1.0),
    "02_tape": (0.26, 0.33, 0.68, 0.7),
    "03_moons": (0.5, 0.08, 1.0, 1.0),
    "04_steps": (0.0, 0.39, 0.67, 0.61),
    "05_steps": (0.0, 0.4, 0.67, 0.62),
    "06_outlines": (0.2, 0.06, 0.6, 0.52),
    "07_designs": (0.1, 0.1, 0.53, 0.35),
    "08_curves": (0.48, 0.0, 0.98, 1.0),
    "09_random_maps": (0.0, 0.15, 0.43, 0.44),
    "10_game": (0.685, 0.33, 1.0, 0.64),
    "11_digits": (0.6, 0.13, 0.81, 1.0),
    "12_walk": (0.08, 0.595, 0.98, 0.995),
    "13_failures": (0.08, 0.1, 0.45, 0.48),
    "14_slopes": (0.0, 0.06, 1.0, 0.9),
    "15_labels": (0.67, 0.12, 1.0, 0.9),
    "16_super_resolution": (0.0, 0.03, 1.0, 0.26),
    "17_paintings": (0.0, 0.05, 1.0, 0.52),
    "18_sizes": (0.0, 0.0, 0.49, 1.0),
    "19_diffusion": (0.1, 0.06, 0.6, 1.0),
    "lab_a_comparisons": (0.0, 0.04, 0.245, 0.51),
    "lab_b_loops": (0.0, 0.1, 0.58, 0.9),
    "lab_c_profile": (0.0, 0.1, 0.9, 0.85),
}


def thumbnail(name, part):
    with Image.open(FOLDER / f"{name}.png") as picture:
        size = picture.size * 2
        cut = picture.convert("RGB").crop([round(share * length) for share, length in zip(part, size, strict=True)])
    cut.resize((WIDTH, round(cut.height * WIDTH / cut.width)), Image.Resampling.LANCZOS).save(
        FOLDER / "thumbnails" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    (FOLDER / "thumbnails").mkdir(exist_ok=True)
    for name, part in PARTS.items():
        thumbnail(name, part)
