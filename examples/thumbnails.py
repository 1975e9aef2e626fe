"""Thumbnails of pictures, with nothing but the standard library.

    python -m examples.thumbnails

What to see here: work that keeps a CPU busy runs in several processes at once; results stay small, files go to a
folder and only their names travel; a picture that cannot be read fails for good, the others do not notice. The
pictures are PPM (what the example draws) and the thumbnails PNG.
"""

from __future__ import annotations

import os
import struct
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from examples.local_node import local_node
from zjp import App, Discard, JobState

app = App()

PICTURE_COUNT = 12


@dataclass(frozen=True)
class Picture:
    """`rows`: one bytes of red, green, blue per row."""

    width: int
    height: int
    rows: list[bytes]


def read_ppm(path: Path) -> Picture:
    """Raises: ValueError."""
    parts = path.read_bytes().split(maxsplit=4)
    if len(parts) != 5 or parts[0] != b"P6" or parts[3] != b"255":
        raise ValueError(f"{path.name} is no PPM picture with 8 bits per colour")
    width, height, pixels = int(parts[1]), int(parts[2]), parts[4]
    if len(pixels) != 3 * width * height:
        raise ValueError(f"{path.name} has {len(pixels)} bytes of pixels, {width} x {height} need {3 * width * height}")
    return Picture(width, height, [pixels[at : at + 3 * width] for at in range(0, len(pixels), 3 * width)])


def scaled(picture: Picture, width: int) -> Picture:
    """Each new pixel is the mean of the old ones that it covers."""
    height = max(1, picture.height * width // picture.width)
    rows = []
    for y in range(height):
        covered = picture.rows[y * picture.height // height : max(1, (y + 1) * picture.height // height)]
        rows.append(bytes(_mean(covered, x * picture.width // width, (x + 1) * picture.width // width, colour)
                          for x in range(width) for colour in range(3)))  # fmt: skip
    return Picture(width, height, rows)


def _mean(rows: list[bytes], left: int, right: int, colour: int) -> int:
    right = max(right, left + 1)
    return sum(sum(row[3 * left + colour : 3 * right : 3]) for row in rows) // (len(rows) * (right - left))


def write_png(picture: Picture, path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", picture.width, picture.height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in picture.rows))
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    # Written aside, then renamed: should the job run twice, nobody ever sees half a picture.
    aside = path.with_suffix(f".{os.getpid()}")
    aside.write_bytes(whole)
    aside.replace(path)


@app.task("thumbnail", timeout="1m")
def thumbnail(source: str, target: str, width: int = 40) -> dict[str, int]:
    try:
        picture = read_ppm(Path(source))
    except ValueError as fault:
        raise Discard(str(fault)) from None
    small = scaled(picture, width)
    write_png(small, Path(target))
    return {"width": small.width, "height": small.height, "bytes": Path(target).stat().st_size}


def draw(folder: Path) -> list[Path]:
    """Pictures with a gradient from a colour of their own, and one that is none."""
    made = []
    for number in range(PICTURE_COUNT):
        width, height = 160 + 16 * number, 120
        pixels = bytes(
            value for y in range(height) for x in range(width) for value in (x * 255 // width, y * 2, 20 * number)
        )
        made.append(folder / f"picture-{number:02}.ppm")
        made[-1].write_bytes(b"P6\n%d %d\n255\n" % (width, height) + pixels)
    made.append(folder / "picture-of-nothing.ppm")
    made[-1].write_bytes(b"P6\n100 100\n255\nnot enough")
    return made


def pixels_of(png: bytes) -> bytes:
    """What `write_png` packed; the check reads the file back."""
    begin = png.index(b"IDAT")
    return zlib.decompress(png[begin + 4 : begin + 4 + struct.unpack(">I", png[begin - 4 : begin])[0]])


def main() -> int:
    with tempfile.TemporaryDirectory() as name, local_node("examples.thumbnails:app", worker_processes="2") as zjp:
        pictures = draw(Path(name))
        targets = [path.with_suffix(".png") for path in pictures]
        jobs = zjp.submit_many([("thumbnail", {"source": str(source), "target": str(target)})
                                for source, target in zip(pictures, targets, strict=True)])  # fmt: skip
        done = zjp.wait(jobs, timeout=60)
        is_right = [
            job.status is JobState.COMPLETED
            and pixels_of(target.read_bytes()) == b"".join(b"\0" + row for row in scaled(read_ppm(source), 40).rows)
            for job, source, target in zip(done, pictures, targets, strict=True)
        ]
    for job, path in zip(done, pictures, strict=True):
        made = f"{job.result['width']} x {job.result['height']}" if job.status is JobState.COMPLETED else job.error
        print(f"{path.stem}: {made if isinstance(made, str) or made is None else made.message}")
    return 0 if is_right == [True] * PICTURE_COUNT + [False] and done[-1].status is JobState.FAILED else 1


if __name__ == "__main__":
    sys.exit(main())
