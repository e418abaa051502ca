#!/usr/bin/env python3
"""Makes the sample drive: 16 small photos in tests/data/drive/ and the matching track tests/data/drive.gpx.

They are committed, so that `python3 mapillary_tools.py process_and_upload --import_path tests/data/drive --user_name demo
--keep_original --stand_in received` runs on a fresh clone. Run this again only to change the drive: the same script makes
the same bytes, with any Python. All of it is made up: the pixels are drawn here, and no camera has ever driven this way.

The drive, down an avenue in Gothenburg, at local time +02:00:
  photos  1 to 11  one sequence, two seconds apart; 5 and 6 are near-duplicates (8 cm apart, waiting at a light);
                   9 and 10 have one capture time (a tie)
  photos 12 to 16  95 seconds later, so a sequence of their own, through a left turn
Photos 1 to 8 have SubSecTimeOriginal; none has a direction. Every one is good: time, position, altitude, make and model.
"""

import argparse
import datetime
import math
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

import making

DATA = Path(__file__).resolve().parent / "data"
START = datetime.datetime(2024, 5, 17, 6, 30, 0)  # UTC; the camera shows two hours more
START_LAT, START_LON, START_HEADING = 57.697350, 11.978900, 324.0
AVENUE, RADIUS = 640.0, 42.0  # metres straight on, then a quarter circle to the left
KNOTS = [  # (seconds since START, metres along the road)
    (-4.0, -32.0),
    (0.0, 0.0),
    (7.0, 54.0),
    (8.25, 58.0),
    (10.25, 58.08),
    (12.25, 64.0),
    (14.25, 80.0),
    (16.0, 94.0),
    (18.0, 110.0),
    (60.0, 400.0),
    (90.0, 440.0),
    (113.0, 618.0),
    (121.0, 680.0),
    (126.0, 722.0),
]
# seconds since START, SubSecTimeOriginal, and where the photo was really taken in time
SHOTS: List[Tuple[float, Optional[str], float]] = [
    (0, "25", 0.25),
    (2, "25", 2.25),
    (4, "250", 4.25),
    (6, "250", 6.25),
    (8, "250", 8.25),
    (10, "250", 10.25),
    (12, "250", 12.25),
    (14, "250", 14.25),
    (16, None, 16.0),
    (16, None, 16.5),
    (18, None, 18.0),
    (113, None, 113.0),
    (115, None, 115.0),
    (117, None, 117.0),
    (119, None, 119.0),
    (121, None, 121.0),
]
SIZE = (960, 720)  # pixels, drawn in blocks of 8 x 8
DIGITS: Dict[str, str] = {  # 3 x 5 each, row by row
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "111001111100111",
    "3": "111001111001111",
    "4": "101101111001001",
    "5": "111100111001111",
    "6": "111100111101111",
    "7": "111001001010010",
    "8": "111101111101111",
    "9": "111101111001111",
}


def metres_at(seconds: float) -> float:
    """How far along the road, linear between KNOTS."""
    for (t1, s1), (t2, s2) in zip(KNOTS, KNOTS[1:]):
        if seconds <= t2:
            return s1 + (s2 - s1) * (seconds - t1) / (t2 - t1)
    return KNOTS[-1][1]


def place_at(seconds: float) -> Tuple[float, float, float]:
    """Latitude, longitude and altitude; the road goes straight, then turns left by 90 degrees, then straight again."""
    metres = metres_at(seconds)
    turn = min(math.pi / 2, max(0.0, (metres - AVENUE) / RADIUS))
    ahead = min(metres, AVENUE) + RADIUS * math.sin(turn)
    left = RADIUS * (1 - math.cos(turn)) + max(0.0, metres - AVENUE - RADIUS * math.pi / 2)
    heading = math.radians(START_HEADING)
    north = ahead * math.cos(heading) + left * math.sin(heading)
    east = ahead * math.sin(heading) - left * math.cos(heading)
    lat = START_LAT + north / 111359.0  # metres a degree on the WGS-84 ellipsoid at this latitude
    return round(lat, 8), round(START_LON + east / 59612.0, 8), round(14.5 - 0.01 * metres, 2)


def scene(number: int, seconds: float) -> Callable[[int, int], Tuple[int, int, int]]:
    """The picture: sky, houses and a road that moves with the drive, and the number of the photo."""
    metres = metres_at(seconds)
    bend = min(
        1.0, max(0.0, (metres - AVENUE + 40) / 80)
    )  # how much the road leads away to the left
    text = f"{number:02d}"

    def colour(x: int, y: int) -> Tuple[int, int, int]:
        if 3 <= y < 18 and 4 <= x < 26:  # the number, each dot 3 blocks wide and high
            letter, column, row = (x - 4) // 12, (x - 4) % 12 // 3, (y - 3) // 3
            if column < 3 and DIGITS[text[letter]][3 * row + column] == "1":
                return 250, 250, 250
        if y >= 45:
            return ground(x, y)
        side = abs(x - 60)
        house = int(metres / 15 + side / 14) + (7 if x < 60 else 0)
        height = 6 + side // 3 + house * 37 % 9
        if y >= 45 - height and side > 3:
            window = (x + int(metres)) % 5 == 2 and y % 5 == 2
            shade = house * 29 % 60
            return (70, 75, 90) if window else (150 + shade, 120 + shade // 2, 95 + shade // 3)
        return 130 + y // 6 * 6, 175 + y // 6 * 4, 225

    def ground(x: int, y: int) -> Tuple[int, int, int]:
        depth = 90 - y  # 45 at the horizon
        middle = 60 - bend * depth * depth / 45.0
        half = 3 + (y - 45) * 1.15
        off = x - middle
        away = int(metres + 400.0 / (y - 44)) // 6 % 2
        if abs(off) < max(0.6, half * 0.03) and away:
            return 235, 235, 225
        if abs(off) < half:
            return (88, 88, 92) if y % 12 < 6 else (92, 92, 96)
        if abs(off) < half * 1.12:
            return 200, 200, 196
        return (96, 130, 78) if away else (90, 124, 74)

    return colour


def make(folder: Path) -> List[Path]:
    """Writes drive/IMG_0001.jpg and on, and drive.gpx, into `folder`; gives their paths."""
    written = []
    for number, (second, subsec, taken) in enumerate(SHOTS, 1):
        lat, lon, alt = place_at(taken)
        local = START + datetime.timedelta(hours=2, seconds=second)
        written.append(
            making.photo(
                folder / "drive" / f"IMG_{number:04d}.jpg",
                size=SIZE,
                pixels=scene(number, taken),
                make="Wayside",
                model="WS-16",
                time=local.strftime("%Y:%m:%d %H:%M:%S"),
                subsec=subsec,
                offset="+02:00",
                lat=lat,
                lon=lon,
                alt=alt,
                orientation=1,
            )
        )
    epoch = START.replace(tzinfo=datetime.timezone.utc).timestamp()
    points = [(epoch + second / 2, *place_at(second / 2)) for second in range(-8, 2 * 126 + 1)]
    written.append(making.gpx(points, folder / "drive.gpx"))
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--folder",
        type=Path,
        default=DATA,
        help="where drive/ and drive.gpx go (default: tests/data)",
    )
    written = make(parser.parse_args().folder)
    print(f"{len(written)} files, {sum(path.stat().st_size for path in written)} bytes")


if __name__ == "__main__":
    main()
