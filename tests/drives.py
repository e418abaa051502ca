#!/usr/bin/env python3
"""Honest drives, faults put into them, and what the tool says of them: `python tests/drives.py --drives 2000 --seed 7`.

Each drive is a list of photos by one camera as times and places: a train, car, bicycle, walker, boat or a car on a ferry, on a
way with straights, bends, hairpins, roundabouts, tunnels and stops; 1 to 30 photos a second, in bursts, or by hand minutes
apart; two cameras side by side; over the antimeridian and near a pole; GPS noise of 1 to 15 m, and pieces that drift by 50 m
between houses. A fault is one of FAULTS. Honest photos must not fail; of faults larger than the speed of the drive times
the interval, plus 30 m and the noise, and than 100 m, 99 in 100 must be found.

--official PYTHON has the official package, installed there, judge the same drives.
"""

import argparse
import collections
import json
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Callable, Counter, Dict, Iterable, Iterator, List, NamedTuple, Set, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import mapillary_tools as mt  # noqa: E402

SPEEDS = {
    "train": (40.0, 89.0),
    "car": (5.0, 36.0),
    "bicycle": (2.0, 9.0),
    "walker": (0.5, 2.0),
    "boat": (1.0, 12.0),
    "car on a ferry": (4.0, 14.0),
}
INTERVALS = (1 / 30, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
BY_HAND = (20.0, 60.0, 150.0)  # seconds, for those who walk
PLACES = [(57.7, 11.97), (0.0, 0.01), (-33.9, 151.2), (71.0, 179.99), (78.2, 15.6), (89.97, 40.0)]
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


def _way(dice: random.Random, speed: float, interval: float) -> Iterator[mt.Fix]:
    """Where something was at each photo, without noise."""
    fix = mt.Fix(1.7e9, *dice.choice(PLACES))
    direction, left, going, bend = dice.uniform(0, 7), 0.0, True, 0.0
    burst = interval >= 1.0 and dice.random() < 0.2
    for number in range(dice.randint(30, 160)):
        if left <= 0:  # a new piece of the way
            pieces = ["straight", "bend", "hairpin", "stop", "roundabout", "tunnel", "pause"]
            piece = dice.choice(pieces)
            left, going = dice.uniform(5, 40) * interval, piece != "stop"
            bend = {"bend": 0.05, "roundabout": 0.5}.get(piece, 0.0) * dice.choice((-1, 1))
            if piece == "hairpin":
                direction += math.pi
            if piece == "tunnel" and number > 5:  # no photo for a while, and on behind it
                gap = dice.uniform(5, 60)
                fix = moved(fix, speed * gap, direction)._replace(time=fix.time + gap)
            if piece == "pause":
                fix = fix._replace(time=fix.time + dice.uniform(5, 50))
        step = 0.1 if burst and number % 8 else interval * dice.uniform(0.8, 1.2)
        left -= step
        direction += bend * min(1.0, step)
        pace = speed * dice.uniform(0.8, 1.1) if going else 0.0
        fix = moved(fix, pace * step, direction)._replace(time=fix.time + step)
        yield fix


def honest(dice: random.Random) -> Drive:
    """One drive that really was."""
    kind = dice.choice(sorted(SPEEDS))
    speed, interval = dice.uniform(*SPEEDS[kind]), dice.choice(INTERVALS)
    if kind == "walker" and dice.random() < 0.3:
        interval = dice.choice(BY_HAND)
    noise, houses = dice.uniform(1, 15), dice.random() < 0.2
    second = 0.0 if dice.random() < 0.8 else dice.uniform(0.01, 0.3)  # seconds behind the first
    drift, away, found, before = [0.0, 0.0], 0.0, [], 1.7e9
    for fix in _way(dice, speed, interval):
        step, before = fix.time - before, fix.time
        drift = [0.98 * d + dice.gauss(0, noise * 0.2 * min(1.0, step) ** 0.5) for d in drift]
        if houses:  # reflections move the position, metre by metre, up to 50
            away = min(50.0, max(0.0, away + dice.uniform(-3, 3) * min(1.0, step)))
        seen = moved(fix, math.hypot(*drift) + away, math.atan2(*drift))
        found.append(moved(seen, abs(dice.gauss(0, noise / 3)), dice.uniform(0, 7)))
        if second:
            there = moved(seen, abs(dice.gauss(0, noise / 3)), dice.uniform(0, 7))
            found.append(there._replace(time=fix.time + min(second, interval / 2)))
    return Drive(kind, sorted(found), speed, interval, noise)


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
    return _with(drive, fixes, range(start, end))


def _with(drive: Drive, fixes: List[mt.Fix], wrong: Iterable[int]) -> Drive:
    """The drive with other places for some photos; near a pole they move by less than was meant."""
    size = min(mt.distance(fixes[n], drive.fixes[n]) for n in wrong)
    return drive._replace(fixes=fixes, wrong=set(wrong), size=size)


def _changed(drive: Drive, dice: random.Random, change: Callable[[mt.Fix], mt.Fix]) -> Drive:
    """One photo whose numbers were misread."""
    n = dice.randint(2, len(drive.fixes) - 3)
    fixes = list(drive.fixes)
    fixes[n] = change(fixes[n])
    return _with(drive, fixes, [n])


def _minutes(value: float) -> float:
    """Degrees and minutes read as decimal degrees."""
    return math.trunc(value) + math.copysign(abs(value) % 1 * 60 / 100, value)


def _at_begin(drive: Drive, dice: random.Random) -> Drive:
    """The fix of the last trip on the first photos."""
    count, fixes = dice.randint(1, 3), list(drive.fixes)
    for n in range(count):
        fixes[n] = moved(fixes[n], 20000, 1.0)
    return _with(drive, fixes, range(count))


def _beside_a_pause(drive: Drive, dice: random.Random) -> Drive:
    """One to three photos elsewhere, before or behind a pause in which one gets there; and another
    pause, before or behind it.
    """
    count, metres = dice.randint(1, 3), dice.uniform(8000, 20000) + 200 * drive.interval
    wrong, seconds = dice.randint(4, len(drive.fixes) - count - 5), metres / dice.uniform(20, 100)
    others = [n for n in range(1, len(drive.fixes)) if not wrong - 2 <= n <= wrong + count + 2]
    pauses = [(wrong + dice.choice((0, count)), seconds), (dice.choice(others), seconds)]
    fixes = [
        fix._replace(time=fix.time + sum(seconds for at, seconds in pauses if at <= n))
        for n, fix in enumerate(drive.fixes)
    ]
    direction, wide, places = dice.uniform(0, 7), drive._replace(fixes=fixes), list(fixes)
    for n in range(wrong, wrong + count):
        places[n] = moved(places[n], metres, direction)
    return _with(wide, places, range(wrong, wrong + count))


def _clock_back(drive: Drive, dice: random.Random) -> Drive:
    """The clock set back in the middle: all places are right, and photos of two stand in turn."""
    start = len(drive.fixes) // 2
    back = dice.uniform(3, 10) * (drive.fixes[start].time - drive.fixes[start - 1].time)
    later = [fix._replace(time=fix.time - back) for fix in drive.fixes[start:]]
    return drive._replace(fixes=sorted([*drive.fixes[:start], *later]))


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
    "beside a pause": _beside_a_pause,
}


def threshold(drive: Drive) -> float:
    """Metres from which a fault counts: what the drive itself and its noise may make."""
    return max(mt.JUMP_M, drive.speed * drive.interval + 30 + drive.noise)


class Figures(NamedTuple):
    """What came of some drives."""

    drives: int
    photos: int
    held_back: int  # honest photos that fail
    # kind -> how many photos were wrong and large enough, how many found
    faults: Dict[str, Tuple[int, int]]
    beside: int  # honest photos that fail beside a wrong one
    changed: int  # photos of the drives with faults
    back: int  # photos that fail, though only the clock was set back


Judge = Callable[[List[mt.Fix]], Set[int]]  # photos of a drive -> numbers of those that fail


def ours(fixes: List[mt.Fix]) -> Set[int]:
    return {jump.photo for jump in mt.jumps_of(fixes, LIMIT)}


class Official:
    """The official package, in a Python of its own."""

    def __init__(self, python: str) -> None:
        script = str(Path(__file__).with_name("official_drives.py"))
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, fixes: List[mt.Fix]) -> Set[int]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps([fix[:3] for fix in fixes]) + "\n")
        self.process.stdin.flush()
        answer: List[int] = json.loads(self.process.stdout.readline())
        return set(answer)


def figures(count: int, seed: int, judge: Judge = ours) -> Figures:
    """So many drives, honest ones and with each fault in turn."""
    totals: Counter[str] = collections.Counter()
    faults: Dict[str, Tuple[int, int]] = {}
    for number in range(count):
        dice = random.Random(f"{seed} {number}")
        drive = honest(dice)
        totals.update(photos=len(drive.fixes), held_back=len(judge(drive.fixes)))
        totals.update(back=len(judge(_clock_back(drive, dice).fixes)))
        name = sorted(FAULTS)[number % len(FAULTS)]
        bad = FAULTS[name](drive, dice)
        if bad.size <= threshold(drive):
            continue
        found = judge(bad.fixes)
        totals.update(beside=len(found - bad.wrong), changed=len(bad.fixes))
        wrong, caught = faults.get(name, (0, 0))
        faults[name] = (wrong + len(bad.wrong), caught + len(found & bad.wrong))
    told = [totals[name] for name in ("beside", "changed", "back")]
    return Figures(count, totals["photos"], totals["held_back"], faults, *told)


def told(who: str, said: Figures) -> None:
    print(f"{who}: {said.drives} drives, {said.photos} photos, {said.held_back} honest ones fail")
    print(f"  beside a fault {said.beside} honest ones of {said.changed} fail")
    print(f"  after a clock set back {said.back} of {said.photos} fail: nobody can tell which half")
    for name, (wrong, caught) in sorted(said.faults.items()):
        print(f"  {name:32}{caught:7} of {wrong:7} found, {100 * caught / wrong:6.2f} %")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--drives", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--official", metavar="PYTHON", help="Python with the official package")
    asked = parser.parse_args()
    told("ours", figures(asked.drives, asked.seed))
    if asked.official:
        told("official", figures(asked.drives, asked.seed, Official(asked.official)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
