#!/usr/bin/env python3
"""Honest drives, faults put into them, and what the tool says of them: `python tests/drives.py --drives 2000 --seed 7`.

Each drive is a list of photos by one camera as times and places: a train, car, bicycle, walker or boat on a way with straights,
bends, hairpins and stops, 1 to 30 photos a second or minutes apart, GPS noise of 1 to 15 m. A fault is one of FAULTS. Honest
photos must not fail; of faults larger than the speed of the drive times the interval, plus 30 m and the noise, and larger than
100 m, 99 in 100 must be found.
"""

import argparse
import math
import random
import sys
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Set, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mapillary_tools as mt  # noqa: E402

SPEEDS = {
    "train": (40.0, 89.0),
    "car": (5.0, 36.0),
    "bicycle": (2.0, 9.0),
    "walker": (0.5, 2.0),
    "boat": (1.0, 12.0),
}
INTERVALS = (1 / 30, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
LIMIT = 400.0  # km/h, as the tool has it


class Drive(NamedTuple):
    """A drive as it was, and what was put into it."""

    kind: str
    fixes: List[mt.Fix]
    speed: float  # metres a second
    interval: float  # seconds
    noise: float  # metres
    wrong: Set[int] = frozenset()  # type: ignore  # numbers of the photos that were put elsewhere
    size: float = 0.0  # metres by which they were


def moved(fix: mt.Fix, metres: float, direction: float) -> mt.Fix:
    """A place so many metres away."""
    lat = fix.lat + metres * math.cos(direction) / 111320
    lon = fix.lon + metres * math.sin(direction) / (
        111320 * max(0.01, math.cos(math.radians(fix.lat)))
    )
    return fix._replace(lat=max(-90.0, min(90.0, lat)), lon=(lon + 540) % 360 - 180)


def honest(dice: random.Random) -> Drive:
    """One drive that really was."""
    kind = dice.choice(sorted(SPEEDS))
    speed, interval = dice.uniform(*SPEEDS[kind]), dice.choice(INTERVALS)
    noise = dice.uniform(1, 15)
    start = dice.choice([(57.7, 11.97), (0.0, 0.01), (-33.9, 151.2), (71.0, 179.99), (78.2, 15.6)])
    fix = mt.Fix(1.7e9, *start)
    direction, left, going, found = dice.uniform(0, 7), 0.0, True, []
    bend, drift = 0.0, [0.0, 0.0]
    for _ in range(dice.randint(30, 160)):
        if left <= 0:  # a new piece of the way
            piece = dice.choice(
                ["straight", "bend", "hairpin", "stop", "roundabout", "tunnel", "pause"]
            )
            left, going = dice.uniform(5, 40) * interval, piece != "stop"
            bend = {"bend": 0.05, "roundabout": 0.5}.get(piece, 0.0) * dice.choice((-1, 1))
            if piece == "hairpin":
                direction += math.pi
            if piece == "tunnel" and len(found) > 5:  # no photo for a while, and on behind it
                gap = dice.uniform(5, 60)
                fix = moved(fix, speed * gap, direction)._replace(time=fix.time + gap)
            if piece == "pause":
                fix = fix._replace(time=fix.time + dice.uniform(5, 50))
        step = interval * dice.uniform(0.8, 1.2)
        left -= step
        direction += bend * min(1.0, step)
        pace = speed * dice.uniform(0.8, 1.1) if going else 0.0
        fix = moved(fix, pace * step, direction)._replace(time=fix.time + step)
        drift = [0.98 * d + dice.gauss(0, noise * 0.2 * min(1.0, step) ** 0.5) for d in drift]
        seen = moved(fix, math.hypot(*drift), math.atan2(*drift))
        found.append(moved(seen, abs(dice.gauss(0, noise / 3)), dice.uniform(0, 7)))
    return Drive(kind, found, speed, interval, noise)


def _run(drive: Drive, dice: random.Random, most: int) -> Tuple[int, int]:
    count = min(most, len(drive.fixes) // 3)
    start = dice.randint(2, len(drive.fixes) - count - 3)
    return start, start + count


def _away(drive: Drive, dice: random.Random, most: int, metres: float) -> Drive:
    """A run of photos put elsewhere together."""
    start, end = _run(drive, dice, dice.randint(1, most))
    direction, fixes = dice.uniform(0, 7), list(drive.fixes)
    for n in range(start, end):
        fixes[n] = moved(fixes[n], metres, direction)
    return drive._replace(fixes=fixes, wrong=set(range(start, end)), size=metres)


def _changed(drive: Drive, dice: random.Random, change: Callable[[mt.Fix], mt.Fix]) -> Drive:
    """One photo whose numbers were misread."""
    n = dice.randint(2, len(drive.fixes) - 3)
    fixes = list(drive.fixes)
    fixes[n] = change(fixes[n])
    return drive._replace(fixes=fixes, wrong={n}, size=mt.distance(fixes[n], drive.fixes[n]))


def _minutes(value: float) -> float:
    """Degrees and minutes read as decimal degrees."""
    return math.trunc(value) + math.copysign(abs(value) % 1 * 60 / 100, value)


def _at_begin(drive: Drive, dice: random.Random) -> Drive:
    """The fix of the last trip on the first photos."""
    count, fixes = dice.randint(1, 3), list(drive.fixes)
    for n in range(count):
        fixes[n] = moved(fixes[n], 20000, 1.0)
    return drive._replace(fixes=fixes, wrong=set(range(count)), size=20000.0)


FAULTS: Dict[str, Callable[[Drive, random.Random], Drive]] = {
    "one wild point": lambda d, dice: _away(d, dice, 1, dice.uniform(200, 20000)),
    "a run of 2 to 20": lambda d, dice: _away(d, dice, 20, dice.uniform(2000, 20000)),
    "latitude and longitude swapped": lambda d, dice: _changed(
        d, dice, lambda fix: fix._replace(lat=max(-90.0, min(90.0, fix.lon)), lon=fix.lat)
    ),
    "a sign lost": lambda d, dice: _changed(
        d, dice, lambda fix: fix._replace(lat=-fix.lat, lon=-fix.lon)
    ),
    "minutes read as decimals": lambda d, dice: _changed(
        d, dice, lambda fix: fix._replace(lat=_minutes(fix.lat), lon=_minutes(fix.lon))
    ),
    "of another day": lambda d, dice: _away(d, dice, 1, dice.uniform(5000, 500000)),
    "the fix of the last trip": _at_begin,
}


def threshold(drive: Drive) -> float:
    """Metres from which a fault counts: what the drive itself and its noise may make."""
    slack = 3 * drive.speed * drive.interval + 30 + 2 * drive.noise
    return max(mt.JUMP_M, slack, mt.JUMP_SPEED * drive.interval + 30 + 2 * drive.noise)


class Figures(NamedTuple):
    """What came of some drives."""

    drives: int
    photos: int
    held_back: int  # honest photos that fail
    faults: Dict[
        str, Tuple[int, int]
    ]  # kind -> how many photos were wrong and large enough, how many found


def figures(count: int, seed: int) -> Figures:
    """So many drives, honest ones and with each fault in turn."""
    photos = held_back = 0
    faults: Dict[str, Tuple[int, int]] = {}
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        drive = honest(dice)
        photos += len(drive.fixes)
        held_back += len(mt.jumps_of(drive.fixes, LIMIT))
        name = sorted(FAULTS)[number % len(FAULTS)]
        bad = FAULTS[name](drive, dice)
        if bad.size <= 2 * threshold(drive):
            continue
        found = {jump.photo for jump in mt.jumps_of(bad.fixes, LIMIT)}
        held_back += len(found - bad.wrong)
        wrong, caught = faults.get(name, (0, 0))
        faults[name] = (wrong + len(bad.wrong), caught + len(found & bad.wrong))
    return Figures(count, photos, held_back, faults)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--drives", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    said = figures(asked.drives, asked.seed)
    print(f"{said.drives} drives, {said.photos} photos, {said.held_back} honest photos held back")
    for name, (wrong, caught) in sorted(said.faults.items()):
        print(f"{name:32}{caught:7} of {wrong:7} found, {100 * caught / wrong:6.2f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
