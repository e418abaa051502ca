"""Golden files: what whole runs leave, byte for byte, on every machine, Python and number of workers.

A case is a folder made here, the command lines that work on it, and tests/data/golden/CASE.json: the journal lines of
each folder and a digest of every file. Times of writing are masked, all else is compared. After a change that is meant:

    python tests/test_golden.py             writes the files anew; read their diff before you commit it
"""

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import making
import making_tracks
import pytest
from conftest import TESTS, run

GOLDEN = TESTS / "data" / "golden"
CLIP = making_tracks.CLIP_SECONDS
FFMPEG = shutil.which("ffmpeg") and shutil.which("ffprobe")


class Case(NamedTuple):
    """One golden case: how its folder is made, and the command lines, in which FOLDER and ASIDE are filled in."""

    make: Callable[[Path, Path], None]
    lines: List[str]


def _drive(folder: Path, aside: Path) -> None:
    ours = shutil.ignore_patterns(".mapillary")  # of somebody who tried the README's command
    shutil.copytree(str(TESTS / "data" / "drive"), str(folder), ignore=ours)
    shutil.copy(str(TESTS / "data" / "drive.gpx"), str(aside / "track.gpx"))


def _mixed(folder: Path, aside: Path) -> None:
    """Two cameras, ties, duplicates, a damaged file, a TIFF, no position, no time, captions, a subfolder."""
    making.drive(folder, count=4, heading=lambda n: 10.0 * n, alt=lambda n: n - 1.5)
    for number in range(3):
        making.photo(
            folder / f"B{number}.jpg",
            make="Andere",
            model="Zweite",
            lat=-33.5,
            lon=151.25,
            heading=45.0,
            heading_ref="M",
            time="2024:05:06 07:09:00",
            orientation=6,
            pixels=number,
            order=">",
        )
    for number in range(3):
        making.photo(
            folder / f"tie {number}.jpg",
            lat=57.71,
            lon=11.98 + number / 1e4,
            time="2024:05:06 07:20:00",
        )
    making.photo(
        folder / "caption.jpg",
        lat=10.0,
        lon=20.0,
        description="Über den Bergen",
        time="2024:05:06 09:20:00",
        offset="+02:00",
        subsec="5",
        gps_date="2024:05:06",
        gps_time="07:20:00.5",
    )
    making.photo(folder / "nowhere.jpg", time="2024:05:06 07:20:02")
    making.photo(folder / "never.jpg", lat=1.0, lon=2.0, time=None)
    making.photo(folder / "2024_05_06_07_08_09_123.jpg", lat=1.0, lon=2.0, time=None)
    making.photo(folder / "plain.jpg", exif=None)
    whole = making.photo(folder / "cut.jpg", lat=1.0, lon=2.0)
    whole.write_bytes(whole.read_bytes()[:-40])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "scan.tif").write_bytes(making.exif_tiff(lat=1.0, lon=2.0))
    making.photo(
        folder / "sub" / "ä.jpg",
        lat=-0.5,
        lon=-0.25,
        alt=0.0,
        time="2024:05:06 07:08:09",
        subsec="123",
    )


def _gopro(folder: Path, aside: Path) -> None:
    _at_clip(folder)
    (aside / "clip.mp4").write_bytes(making_tracks.movie(making_tracks.hero5_style(12)))


def _blackvue(folder: Path, aside: Path) -> None:
    _at_clip(folder)
    lines = "".join(
        f"[{(CLIP + second) * 1000:.0f}]" + sentence(CLIP + second, 45.0 + second / 1e4, 7.0)
        for second in range(12)
        for sentence in (making_tracks.rmc, making_tracks.gga)
    )
    text = making_tracks.box(b"free", making_tracks.box(b"gps ", lines.encode("ascii")))
    (aside / "clip.mp4").write_bytes(making_tracks.movie(before=text))


def _at_clip(folder: Path) -> None:
    """Five photos without a place, while the clips were recorded."""
    for number in range(5):
        moment = making.iso(CLIP + 2 + 1.5 * number)
        making.photo(
            folder / f"{number}.jpg",
            time=moment[:10].replace("-", ":") + " " + moment[11:19],
            subsec=moment[20:23] or None,
            pixels=number,
        )


def _table(folder: Path, aside: Path) -> None:
    making.drive(folder, count=5)
    rows = ["file,time,lat,lon,alt,dir,who,day"]
    rows += [
        f"000{n}.jpg,2024:05:06 07:1{n}:00.5,57.8{n},12.0{n},{n}.25,{90 * n},Zoë,2024:05:06 00:00:00.0"
        for n in range(1, 5)
    ]
    (aside / "table.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _ties(folder: Path, aside: Path) -> None:
    """Pairs of photos of one second, the third pair without a place."""
    for number in range(8):
        lat, lon = (None, None) if number in (4, 5) else (57.7 + number / 1e4, 11.97)
        making.photo(
            folder / f"{number}.jpg",
            lat=lat,
            lon=lon,
            time=f"2024:05:06 07:08:{number // 2:02d}",
            pixels=number,
        )


def _sampled(folder: Path, aside: Path) -> None:
    folder.mkdir()
    making_video(aside / "clip.mp4")


def making_video(path: Path) -> None:
    """Six seconds at 10 frames a second; what is golden about it is the EXIF of its frames, not their pictures."""
    import subprocess

    command = [
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=64x48:rate=10",
        "-t",
        "6",
        "-c:v",
        "mpeg4",
        "-g",
        "10",
        "-metadata",
        "creation_time=2024-05-31T12:00:00Z",
        str(path),
    ]
    subprocess.run(command, check=True)


_PROCESS = "process --import_path FOLDER --user_name demo "
_TRACK = "--advanced --geotag_source {} --geotag_source_path ASIDE/{} "
_COLUMNS = (
    "--header --filename_column 1 --timestamp_column 2 --latitude_column 3 --longitude_column 4 "
    "--altitude_column 5 --heading_column 6 --meta_columns 7,8 --meta_names who,day --meta_types string,date"
)
CASES: Dict[str, Case] = {
    "drive": Case(
        _drive,
        [_PROCESS + _TRACK.format("gpx", "track.gpx") + "--offset_angle 90 --flag_duplicates"],
    ),
    "drive_streamed": Case(
        _drive,
        [
            _PROCESS + "--advanced --skip_EXIF_insert --interpolate_directions",
            "upload --import_path FOLDER --stand_in ASIDE/received",
        ],
    ),
    "drive_steps": Case(
        _drive,
        [
            "extract_user_data --import_path FOLDER --user_name demo",
            "extract_import_meta_data --import_path FOLDER --advanced --device_make Own --GPS_accuracy 2.5 --orientation 90",
            "extract_geotag_data --import_path FOLDER --advanced --timezone +02:00 --offset_time 1.5",
            "extract_sequence_data --import_path FOLDER --advanced --cutoff_distance 20",
            "extract_upload_params --import_path FOLDER --user_name demo",
            "exif_insert --import_path FOLDER --advanced --keep_original",
        ],
    ),
    "mixed": Case(_mixed, [_PROCESS + "--advanced --flag_duplicates --duplicate_distance 5"]),
    "mixed_twice": Case(
        _mixed, [_PROCESS + "--advanced --cutoff_time 5 --add_file_name", _PROCESS]
    ),
    "mixed_copies": Case(
        _mixed,
        [
            _PROCESS + "--advanced --keep_original",
            "upload --import_path FOLDER --stand_in ASIDE/received",
        ],
    ),
    "csv": Case(
        _table,
        ["process_csv --import_path FOLDER --csv_path ASIDE/table.csv " + _COLUMNS, _PROCESS],
    ),
    "identical": Case(
        _ties, ["interpolate --import_path FOLDER --data identical_timestamps", _PROCESS]
    ),
    "missing": Case(_ties, ["interpolate --import_path FOLDER --data missing_gps", _PROCESS]),
    "gopro": Case(_gopro, [_PROCESS + _TRACK.format("gopro_video", "clip.mp4")]),
    "blackvue": Case(_blackvue, [_PROCESS + _TRACK.format("blackvue", "clip.mp4") + "--max_gap 5"]),
    "sampled": Case(_sampled, ["sample_video --import_path FOLDER --video_path ASIDE/clip.mp4"]),
}


def outcome(case: Case, place: Path, workers: int) -> Dict[str, Any]:
    """What the command lines of a case leave."""
    folder, aside = place / "card", place / "aside"
    aside.mkdir(parents=True)
    (aside / "received").mkdir()
    (aside / "received" / "stand_in.json").write_text('{"name":"stand-in-golden"}', "utf-8")
    case.make(folder, aside)
    for path in [*folder.rglob("*"), *aside.rglob("*")]:
        os.utime(str(path), (1717156800, 1717156800))
    codes = []
    for line in case.lines:
        words = [
            word.replace("FOLDER", str(folder)).replace("ASIDE", str(aside))
            for word in line.split()
        ]
        codes.append(
            run(words + ["--workers", str(workers)] * (words[0] in ("process", "exif_insert"))).code
        )
    files = {
        path.relative_to(place).as_posix(): digest(path)
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }
    return {
        "codes": codes,
        "journals": {
            path.relative_to(place).as_posix(): lines_of(path)
            for path in sorted(place.rglob("journal.jsonl"))
        },
        "files": {
            name: text
            for name, text in files.items()
            if not re.search(r"\.jsonl$|/lock$|/logs/|^aside/[^/]+$", name)
        },
    }


def digest(path: Path) -> str:
    """The bytes of a file; of a frame that ffmpeg made its EXIF alone, because pictures differ from version to version."""
    content = path.read_bytes()
    if re.match(r"clip_\d+\.jpg", path.name):
        content = making.exif_block(content) or b""
    return hashlib.sha256(content).hexdigest()


def lines_of(path: Path) -> List[str]:
    """The lines of a journal without the time at which each was written; those of an upload, which has threads, sorted."""
    text = re.sub(r'"at":"[^"]*"', '"at":"NOW"', path.read_text("ascii"))
    text = re.sub(r'("written":\{"size":\d+,"mtime":)\d+', r"\1NOW", text)
    text = re.sub(r',"ctime":\d+', "", text)
    lines = [line for line in text.splitlines() if not line.startswith('{"sampling"')]
    images = [line for line in lines if not re.match(r'\{"(upload|sequence)"', line)]
    return images + sorted(line for line in lines if line not in images)


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("name", list(CASES))
def test_run_leaves_what_it_left_before(name: str, workers: int, tmp_path: Path):
    if name == "sampled" and not FFMPEG:
        pytest.skip("ffmpeg and ffprobe are not on this computer")
    found = outcome(CASES[name], tmp_path, workers)
    wanted = json.loads((GOLDEN / (name + ".json")).read_text("ascii"))
    assert found["codes"] == wanted["codes"]
    assert found["files"] == wanted["files"]
    for journal, lines in wanted["journals"].items():
        assert found["journals"].get(journal, []) == lines


def main() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    os.environ["HOME"] = os.environ["USERPROFILE"] = tempfile.mkdtemp()
    for name, case in CASES.items():
        place = Path(tempfile.mkdtemp())
        row = outcome(case, place, 1)
        (GOLDEN / (name + ".json")).write_text(
            json.dumps(row, indent=1, sort_keys=True) + "\n", encoding="ascii"
        )
        shutil.rmtree(str(place))


if __name__ == "__main__":
    main()
