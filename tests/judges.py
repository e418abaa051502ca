#!/usr/bin/env python3
"""Every format of tracks against an independent judge: points, the worst difference, the time for an hour.

    python tests/judges.py [SECONDS]

Each file is made from the same ride by the makers of the tests. Judges: exiftool, gpsbabel, gpxpy, fitdecode, and for
subtitles and tables what was put in; one that is not on this computer is told. Metres and milliseconds are the largest
differences between our points and those of the judge at the same place in the list.
"""

import contextlib
import math
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import making_logs as logs
import making_tracks as tracks
import mapillary_tools as mt

Point = Tuple[float, float, float]  # seconds UTC, latitude, longitude
START = tracks.CLIP_SECONDS


class Format(NamedTuple):
    """A format, how a file of it is made from a ride, and who judges."""

    name: str
    file: str
    make: Callable[[List[Any]], bytes]
    judge: str
    rate: int = 1  # points a second


def ride(seconds: int, rate: int) -> List[Any]:
    """(time, lat, lon, alt, course) of a ride of about 11 m/s."""
    points = []
    for number in range(seconds * rate):
        at = number / rate
        lat = 47.1 + 1e-4 * at * math.cos(at / 900)
        lon = 8.2 + 1e-4 * at * math.sin(at / 900)
        points.append((START + at, round(lat, 7), round(lon, 7), 400.0 + round(at / 60, 1), 90.0))
    return points


def payloads(points: List[Any], make: Callable[[List[Any]], bytes]) -> bytes:
    """A movie with a payload a second."""
    seconds: Dict[int, List[Any]] = {}
    for point in points:
        seconds.setdefault(int(point[0] - START), []).append(point)
    return tracks.movie([make(seconds[second]) for second in sorted(seconds)])


def hero11(points: List[Any]) -> bytes:
    """GPS9 in a GoPro video."""
    return payloads(
        points, lambda rows: tracks.device(tracks.gps9([(*row[:4], 1.0, 3) for row in rows]))
    )


def camm(points: List[Any]) -> bytes:
    """Records of type 6 in a CAMM video."""
    return tracks.movie([tracks.camm6(*point[:4]) for point in points], form=b"camm")


def nmea(points: List[Any]) -> bytes:
    """GGA and RMC: the other way round gpsbabel gives each place the time of the next."""
    rows = [tracks.gga(*point[:4]) + "\r\n" + tracks.rmc(*point[:3]) for point in points]
    return "\r\n".join(rows).encode("ascii")


def blackvue(points: List[Any]) -> bytes:
    """Sentences in a free box."""
    lines = [f"[{round(point[0] * 1000)}]{tracks.rmc(*point[:3])}" for point in points]
    text = "\r\n".join(lines).encode("ascii")
    return tracks.movie() + tracks.box(b"free", tracks.box(b"gps ", text))


def gpx(points: List[Any]) -> bytes:
    """GPX 1.1."""
    rows = (
        tracks.trkpt(lat, lon, logs.stamp(when, end="Z"), alt) for when, lat, lon, alt, _ in points
    )
    return tracks.gpx("".join(rows)).encode("ascii")


FORMATS = [
    Format("GPX", "a.gpx", gpx, "gpxpy"),
    Format("NMEA", "a.nmea", nmea, "gpsbabel nmea"),
    Format("FIT", "a.fit", lambda points: logs.fit(points), "fitdecode"),
    Format("FIT, VIRB 10 Hz", "v.fit", lambda points: logs.fit_virb(points), "what was put in", 10),
    Format(
        "KML gx:Track",
        "a.kml",
        lambda points: logs.kml(logs.placemark(logs.gx_track(points))).encode("ascii"),
        "gpsbabel kml",
    ),
    Format(
        "KML Placemarks",
        "p.kml",
        lambda points: logs.kml(*map(logs.point_mark, points)).encode("ascii"),
        "gpsbabel kml",
    ),
    Format(
        "KMZ",
        "a.kmz",
        lambda points: logs.kmz(("doc.kml", logs.kml(logs.placemark(logs.gx_track(points))))),
        "what was put in",
    ),
    Format(
        "TCX",
        "a.tcx",
        lambda points: logs.tcx("".join(map(logs.trackpoint, points))).encode("ascii"),
        "gpsbabel gtrnctr",
    ),
    Format(
        "DJI .srt",
        "a.srt",
        lambda points: logs.srt_brackets(points, START).encode("ascii"),
        "what was put in",
        30,
    ),
    Format("CSV", "a.csv", lambda points: logs.csv_log(points).encode("ascii"), "gpsbabel unicsv"),
    Format("GoPro GPS9", "g.mp4", hero11, "tests'_own reader", 10),
    Format("CAMM", "c.mp4", camm, "exiftool", 10),
    Format("BlackVue", "b.mp4", blackvue, "exiftool"),
    Format("Insta360", "a.insv", lambda points: logs.insta360(points), "exiftool", 10),
    Format(
        "Novatek",
        "n.mp4",
        lambda points: logs.novatek([logs.free_gps(one) for one in points]),
        "exiftool",
    ),
]


def by_gpsbabel(kind: str, path: Path) -> Optional[List[Point]]:
    """What gpsbabel reads of a file."""
    if shutil.which("gpsbabel") is None:
        return None
    command = ["gpsbabel", "-t", "-w", "-i", kind, "-f", str(path), "-x", "transform,trk=wpt"]
    if kind != "kml" or path.name != "p.kml":
        command = ["gpsbabel", "-t", "-i", kind, "-f", str(path)]
    said = subprocess.run([*command, "-o", "gpx", "-F", "-"], stdout=subprocess.PIPE).stdout
    text = re.search(r"<trk>.*</trk>", said.decode("utf-8"), re.DOTALL)
    rows = re.findall(
        r'<trkpt lat="(.*?)" lon="(.*?)">(.*?)</trkpt>', text.group() if text else "", re.DOTALL
    )
    found = []
    for lat, lon, inner in rows:
        when = re.search(r"<time>(.*?)</time>", inner)
        if when:
            found.append((mt.parse_time(when.group(1)) or 0.0, float(lat), float(lon)))
    return found


def by_exiftool(path: Path) -> Optional[List[Point]]:
    """What exiftool reads of a video."""
    if shutil.which("exiftool") is None:
        return None
    command = ["exiftool", "-n", "-a", "-s", "-ee", "-api", "LargeFileSupport=1", str(path)]
    said = subprocess.run(command, stdout=subprocess.PIPE).stdout.decode("utf-8", "replace")
    told: Dict[str, List[str]] = {"DateTime": [], "Latitude": [], "Longitude": []}
    for name, value in re.findall(r"(?m)^GPS(DateTime|Latitude|Longitude)\s*: (.*)$", said):
        told[name].append(value)
    whens = [mt.parse_time(text) or 0.0 for text in told["DateTime"]]
    return list(zip(whens, map(float, told["Latitude"]), map(float, told["Longitude"])))


def by_own_walk(path: Path) -> List[Point]:
    """What the reader of GPMF in the tests finds, which shares no code with the product."""
    return [row[1:4] for row in tracks.judge_gopro(path.read_bytes())[1]]


def by_fitdecode(path: Path) -> Optional[List[Point]]:
    """The records that fitdecode reads."""
    try:
        import fitdecode
    except ImportError:
        return None
    found = []
    with fitdecode.FitReader(str(path)) as reader:
        for frame in reader:
            if isinstance(frame, fitdecode.FitDataMessage) and frame.name == "record":
                place = (
                    frame.get_value(name) * 180 / 2**31
                    for name in ("position_lat", "position_long")
                )
                found.append((frame.get_value("timestamp").timestamp(), *place))
    return found


def by_gpxpy(path: Path) -> Optional[List[Point]]:
    """What gpxpy reads."""
    try:
        import gpxpy
    except ImportError:
        return None
    points = gpxpy.parse(path.read_text("utf-8")).tracks[0].segments[0].points
    return [(point.time.timestamp(), point.latitude, point.longitude) for point in points]


def judged(form: Format, path: Path, put_in: List[Any]) -> Optional[List[Point]]:
    """The points of a file by its judge; None where that is not on this computer."""
    name, _, kind = form.judge.partition(" ")
    if name == "gpsbabel":
        return by_gpsbabel(kind, path)
    others = {"exiftool": by_exiftool, "fitdecode": by_fitdecode, "gpxpy": by_gpxpy}
    others["tests'_own"] = by_own_walk
    if name in others:
        return others[name](path)
    return [point[:3] for point in put_in]


def apart(mine: List[Any], theirs: List[Point]) -> Tuple[float, float]:
    """(metres, milliseconds) of the largest differences."""
    metres = millis = 0.0
    for fix, (when, lat, lon) in zip(mine, theirs):
        metres = max(metres, mt.distance(mt.Fix(0.0, fix.lat, fix.lon), mt.Fix(0.0, lat, lon)))
        millis = max(millis, abs(fix.time - when) * 1000)
    return metres, millis


def row_of(form: Format, folder: Path, seconds: int) -> Dict[str, Any]:
    """One row of the table."""
    points, path = ride(seconds, form.rate), folder / form.file
    path.write_bytes(form.make(points))
    begin = time.perf_counter()
    track = mt.read_track(path)
    spent = time.perf_counter() - begin
    theirs = judged(form, path, points)
    found: Dict[str, Any] = {"format": form.name, "points": len(track.points), "s": round(spent, 3)}
    found["judge"], found["judged"] = form.judge, None if theirs is None else len(theirs)
    if theirs:
        metres, millis = apart(track.points, theirs)
        found["metres"], found["ms"] = round(metres, 3), round(millis, 1)
    with contextlib.suppress(mt.ProgramMissing):
        second = mt.second_tracks([path]) if form.judge == "exiftool" else {}
        found["second"] = len(second[path].points) if path in second else None
    return found


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3600
    print(
        "format           points  judge              judged  metres     ms  second reader  seconds"
    )
    with tempfile.TemporaryDirectory() as folder:
        for form in FORMATS:
            row = row_of(form, Path(folder), seconds)
            told = [row.get(name) for name in ("judged", "metres", "ms", "second")]
            cells = ["-" if value is None else str(value) for value in told]
            print(
                f"{row['format']:16} {row['points']:6}  {row['judge']:18} {cells[0]:>6} {cells[1]:>7} "
                f"{cells[2]:>6} {cells[3]:>14} {row['s']:>8}"
            )


if __name__ == "__main__":
    main()
