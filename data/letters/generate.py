"""Write the letters: glyphs A to J as a folder of images, with what goes wrong in such folders.

`python data/letters/generate.py` writes `raw/<letter>/<number>.png` and prints the table of faults
that stands in README.md; `--idx` writes MNIST's format instead, which has no place for some of
them. Only numpy is needed, and a seed gives the same bytes everywhere.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

SEED = 28
SIDE = 28
PER_LETTER = 200
# Strokes on a grid of ten by ten, y downwards; a semicolon lifts the pen.
STROKES = {
    "A": "0,10 5,0 10,10; 2,6.5 8,6.5",
    "B": "1,10 1,0 6,0 8,1 9,2.5 8,4 6,5 1,5; 6,5 8,6 9,7.5 8,9 6,10 1,10",
    "C": "9,2 7,0.5 5,0 3,0.5 1,2.5 0.5,5 1,7.5 3,9.5 5,10 7,9.5 9,8",
    "D": "1,10 1,0 5,0 8,1.5 9,5 8,8.5 5,10 1,10",
    "E": "9,0 1,0 1,10 9,10; 1,5 7,5",
    "F": "9,0 1,0 1,10; 1,5 7,5",
    "G": "9,2 7,0.5 5,0 3,0.5 1,2.5 0.5,5 1,7.5 3,9.5 5,10 7,9.5 9,8 9,5.5 6,5.5",
    "H": "1,0 1,10; 9,0 9,10; 1,5 9,5",
    "I": "3,0 7,0; 5,0 5,10; 3,10 7,10",
    "J": "3,0 8,0; 6.5,0 6.5,7 6,9 4,10 2,9.5 1,8",
}
LETTERS = tuple(STROKES)
ERROR_PAGE = b"<!DOCTYPE html>\n<title>503</title>\n<p>The font server is busy.</p>\n"
Account = list[tuple[str, str, int]]
# NEP 19 freezes RandomState's streams; sums, products and roots are the same on any machine, which
# sines and logarithms are not.
Random = np.random.RandomState


def draw_letter(letter: str, count: int, random: Random) -> np.ndarray:
    """Draw a letter so many times, each turned, slanted and scaled, light on dark.

    Returns:
        `(count, SIDE, SIDE)` uint8.
    """

    def vary(low: float, high: float) -> np.ndarray:
        return (low + (high - low) * random.random_sample(count))[:, None, None]

    # The tangent of half an angle gives the rotation without a sine: 15 degrees either way.
    tangent = vary(-0.13, 0.13)
    cosine = (1 - tangent**2) / (1 + tangent**2)
    sine = 2 * tangent / (1 + tangent**2)
    slant, width, height = vary(-0.2, 0.3), vary(1.3, 2.2), vary(1.6, 2.2)
    right, down = vary(-1.5, 1.5), vary(-1.5, 1.5)
    radius, ink, noise = vary(0.6, 2.1), vary(150, 255), vary(0, 25)
    segments = _split(STROKES[letter]) - 5.0  # (segments, ends, xy)
    x = width * (segments[..., 0] - slant * segments[..., 1])
    y = height * segments[..., 1]
    middle = (SIDE - 1) / 2
    x, y = cosine * x - sine * y + middle + right, sine * x + cosine * y + middle + down
    # A pixel that the stroke's edge crosses is partly inked.
    covered = (radius + 0.5 - _distance(x, y)).clip(0, 1)
    grain = noise * (2 * random.random_sample((count, SIDE, SIDE)) - 1)
    return (ink * covered + grain).clip(0, 255).round().astype(np.uint8)


def _split(strokes: str) -> np.ndarray:
    """Return the pen's straight ways as `(segments, 2, 2)`: from and to, x and y."""
    segments = []
    for stroke in strokes.split(";"):
        points = [tuple(map(float, point.split(","))) for point in stroke.split()]
        segments += list(pairwise(points))
    return np.array(segments)


def _distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far each pixel is from the nearest of segments `(count, segments, 2)`."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    nearest = np.full((len(x), SIDE, SIDE), np.inf)
    for segment in range(x.shape[1]):
        from_x, to_x = (x[:, segment, end, None, None] for end in (0, 1))
        from_y, to_y = (y[:, segment, end, None, None] for end in (0, 1))
        along_x, along_y = to_x - from_x, to_y - from_y
        way = (columns - from_x) * along_x + (rows - from_y) * along_y
        share = (way / (along_x**2 + along_y**2)).clip(0, 1)
        apart_x, apart_y = columns - from_x - share * along_x, rows - from_y - share * along_y
        nearest = np.minimum(nearest, apart_x**2 + apart_y**2)
    return np.sqrt(nearest)


def spoil_pictures(
    images: np.ndarray, labels: np.ndarray, drawn: np.ndarray, account: Account
) -> tuple[np.ndarray, np.ndarray]:
    """Spoil what is seen and what it is called; both forms of the set can hold it."""
    blank, misfiled, copied = drawn[:30], drawn[30:40], drawn[40:80]
    # The font had no such letter.
    images[blank] = 0
    account.append(("blank", "every pixel is 0", len(blank)))
    # Somebody dropped it into the next folder; no rule on one picture sees that.
    labels[misfiled] = (labels[misfiled] + 1) % len(LETTERS)
    account.append(("misfiled", "a picture of another letter than the folder says", len(misfiled)))
    # One font under two names.
    account.append(("copy", "the same file again under another name", len(copied)))
    return np.concatenate([images, images[copied]]), np.concatenate([labels, labels[copied]])


def spoil_files(files: dict[str, bytes], images: np.ndarray, account: Account) -> None:
    """Spoil what only a folder of files can hold; `files` are those of `images`, in order."""
    names = list(files)

    def put(fault: str, what: str, contents: dict[int, bytes]) -> None:
        files.update({names[place]: content for place, content in contents.items()})
        account.append((fault, what, len(contents)))

    # A download broke off.
    put(
        "truncated",
        "the PNG ends in the middle",
        {place: files[names[place]][:500] for place in range(12)},
    )
    # The server answered with a page, and nobody looked at the status.
    put("no image", "an HTML page named .png", dict.fromkeys(range(12, 18), ERROR_PAGE))
    # The disk was full.
    put("empty file", "no byte at all", dict.fromkeys(range(18, 22), b""))
    # Another program exported these.
    put("wrong size", "28 × 20 pixels", {22: encode_png(images[22][:, 4:24])})
    coloured = {place: encode_png(np.stack([images[place]] * 3, 2)) for place in range(23, 26)}
    put("in colour", "three channels", coloured)
    # Left in the inbox.
    for name in names[26:31]:
        files[f"unsorted/{name.replace('/', '-')}"] = files.pop(name)
    account.append(("unsorted", "in the folder `unsorted`, which is no letter", 5))


def encode_png(image: np.ndarray) -> bytes:
    """Return `(height, width)` uint8 as a gray PNG, `(height, width, 3)` as one in colour."""
    height, width = image.shape[:2]
    lines = image.reshape(height, -1)
    plain = np.hstack([np.zeros((height, 1), np.uint8), lines])  # a 0: the line is not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if image.ndim == 2 else 2, 0, 0, 0)
    # Level 0 stores: how well a zlib compresses depends on whose it is.
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(plain.tobytes(), 0)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def encode_idx(array: np.ndarray) -> bytes:
    """Return uint8 of any shape in the format of MNIST's files."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def generate(folder: Path, *, seed: int = SEED, idx: bool = False) -> Account:
    """Write the set into `folder`; return (fault, what, count) of every fault in it."""
    random = Random(seed)
    account: Account = []
    images = np.concatenate([draw_letter(letter, PER_LETTER, random) for letter in LETTERS])
    labels = np.repeat(np.arange(len(LETTERS), dtype=np.uint8), PER_LETTER)
    drawn = random.permutation(len(images))
    images, labels = spoil_pictures(images, labels, drawn, account)
    if idx:
        files = {
            "letters-images-idx3-ubyte": encode_idx(images),
            "letters-labels-idx1-ubyte": encode_idx(labels),
        }
    else:
        named = [f"{LETTERS[label]}/{number:04d}.png" for number, label in enumerate(labels)]
        # Those of the first kind of fault are not drawn again, and no copy is.
        order = [*drawn[80:], *drawn[:80], *range(len(drawn), len(images))]
        files = {named[place]: encode_png(images[place]) for place in order}
        spoil_files(files, images[order], account)
    for parent in {(folder / name).parent for name in files}:
        parent.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return account


def main() -> None:
    """Write the files and print the table of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "raw")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--idx", action="store_true", help="two IDX files instead of images")
    options = parser.parse_args()
    for fault, what, count in generate(options.out, seed=options.seed, idx=options.idx):
        print(f"| {fault} | {what} | {count} |")


if __name__ == "__main__":
    main()
