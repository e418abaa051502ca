"""What kill.py kills: for each scenario a folder as it is before, and a command that works on it.

A field is a folder with `photos` and whatever else the command needs; the command names it by {}. All times of files are set,
so that the same scenario gives the same bytes and the same journal each time.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import making
import service
from making_tracks import film

COUNT = 6
FIRST = 1714979289  # 2024-05-06 07:08:09 UTC, when drives begin
SIZES = {"1024": making.jpeg((64, 48), filler=20000)}
NOWHERE = {"GPS": dict.fromkeys((1, 2, 3, 4))}  # a drive without positions
Run = Callable[..., None]  # the tool's command line, which must end in 0 or as told


class Scenario(NamedTuple):
    """One command on one field."""

    name: str
    make: Callable[[Path, Run], None]
    command: str
    few: bool = False  # few images are worth worker processes
    spawned: bool = False  # those are spawned, and not forked
    faulty: Optional[Callable[[], service.Service]] = None  # the service that it needs
    hidden: Tuple[str, ...] = ()  # keys of a journal that differ between runs
    made: str = ""  # files that a run makes, and may remove to make them anew: a pattern
    needs: str = ""  # a program


def dated(folder: Path) -> None:
    """Give each file below a folder its own time, the same on each run."""
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file() and ".mapillary" not in path.parts:
            os.utime(str(path), (FIRST + number, FIRST + number))


def drive(field: Path, count: int = COUNT, **more: Any) -> None:
    making.drive(field / "photos", count, filler=3000, **more)
    dated(field)


def track(field: Path, count: int = 40, name: str = "track.gpx") -> None:
    points = [(FIRST - 10 + number, 57.7 + number / 1e5, 11.97, 20.0) for number in range(count)]
    making.gpx(points, field / name)
    dated(field)


def plain(field: Path, tool: Run) -> None:
    """A drive, with a photo that is no good."""
    drive(field)
    bad = field / "photos" / "0003.jpg"
    bad.write_bytes(bad.read_bytes()[:-200])
    dated(field)


def many(field: Path, tool: Run) -> None:
    drive(field, 8)


def only_drive(field: Path, tool: Run) -> None:
    drive(field)


def long_along_track(field: Path, tool: Run) -> None:
    drive(field, 8, more=NOWHERE)
    track(field, 60)


def along_track(field: Path, tool: Run) -> None:
    drive(field, more=NOWHERE)
    track(field)


def two_folders(field: Path, tool: Run) -> None:
    making.drive(field / "photos" / "left", 3)
    making.drive(field / "photos" / "right", 3, lat=10.0)
    dated(field)


PROCESS = "process --import_path {}/photos --user_name demo --advanced"


def processed(*words: str, times: int = 1) -> Callable[[Path, Run], None]:
    """A drive that was processed before, in another way."""

    def make(field: Path, tool: Run) -> None:
        drive(field)
        for _ in range(times):
            tool(PROCESS, *words)

    return make


def pairs(field: Path, tool: Run) -> None:
    """Photos in pairs of one second, the middle pair without a place; and a table of them."""
    rows = []
    for number in range(COUNT):
        place = (None, None) if number in (2, 3) else (57.7 + number / 1e4, 11.97)
        time = "2024:05:06 07:08:%02d" % (number // 2)
        path = field / "photos" / ("%d.jpg" % number)
        making.photo(path, lat=place[0], lon=place[1], time=time, pixels=number)
        rows.append("%d.jpg,2024:05:06 09:00:0%d.5,1.0%d,2.0" % (number, number, number))
    (field / "table.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    dated(field)


def many_rows(field: Path, tool: Run) -> None:
    """The same for enough photos for several workers."""
    drive(field, 8)
    rows = ["%04d.jpg,2024:05:06 09:00:%02d.5,1.1,2.0" % (n + 1, n) for n in range(8)]
    (field / "table.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    dated(field)


def table(field: Path, tool: Run) -> None:
    rows = ["%d.jpg,2024-05-06T07:08:%02dZ" % (number, number // 3) for number in range(500)]
    field.mkdir(parents=True)
    (field / "table.csv").write_text("\n".join(rows) + "\n", encoding="ascii")


def video(field: Path, tool: Run) -> None:
    field.mkdir(parents=True)
    (field / "photos").mkdir()
    source = "testsrc=size=64x48:rate=5:duration=4"
    words = ["ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", source, "-g", "5"]
    words += ["-bitexact", "-metadata", "creation_time=2024-05-06T07:08:09Z"]
    subprocess.run([*words, str(field / "ride.mp4")], check=True)
    track(field)


def sampled(field: Path, tool: Run) -> None:
    """A video of which more frames were sampled before."""
    video(field, tool)
    tool(SAMPLE, "--video_sample_interval", "0.5")


def films(field: Path, photos: int = 0) -> None:
    """Videos that decode, made without a program, each with its track beside it; and photos."""
    if photos:
        drive(field, photos)
    for number, gap in enumerate((0, 50, 0)):  # of the second one not all goes up
        pictures = [making.jpeg(pixels=9 * number + n, filler=9000 + n) for n in range(6 + number)]
        begin, stem = FIRST + 1000 * number, "v%d" % number
        points = [(begin - 2 + n, 57.7 + n / 1e4, 11.97 + number, 20.0) for n in range(12)]
        making.gpx(points, field / "photos" / (stem + ".gpx"))
        content = film(pictures, 3, created=begin, gap=gap)
        (field / "photos" / (stem + ".mp4")).write_bytes(content)
    dated(field)


def films_to_process(field: Path, tool: Run) -> None:
    """Videos and photos; one video is cut off, and one has no track."""
    films(field, 2)
    whole = (field / "photos" / "v0.mp4").read_bytes()
    (field / "photos" / "w.mp4").write_bytes(whole)
    (field / "photos" / "x.mp4").write_bytes(whole[:-2000])
    dated(field)


def films_again(field: Path, tool: Run) -> None:
    """Videos that were processed before for somebody else, and have got another place since."""
    films(field)
    tool(PROCESS.replace("demo", "other"), *WHOLE)
    track(field, 12, "photos/v0.gpx")


def films_to_send(field: Path, tool: Run) -> None:
    """Processed videos; of two the journal has an md5 that does not count any more."""
    films(field)
    tool(PROCESS, *WHOLE)
    path = field / "photos" / ".mapillary" / "journal.jsonl"
    rows = map(json.loads, path.read_text("ascii").splitlines())
    clips = {row["video"]: row for row in rows if "video" in row}
    with path.open("a", encoding="ascii", newline="\n") as stream:
        for name, stale in (("v0.mp4", {"track": "0" * 16}), ("v1.mp4", {"mtime": 1})):
            line = {key: clips[name][key] for key in ("video", "size", "mtime", "track")}
            line = {"hashed": {**line, **stale, "md5": STALE + name[1]}}
            stream.write(json.dumps(line, separators=(",", ":")) + "\n")


def films_long(field: Path, tool: Run) -> None:
    """The same with a journal that holds each line so often that it is compacted."""
    films_to_send(field, tool)
    path = field / "photos" / ".mapillary" / "journal.jsonl"
    head, *lines = path.read_bytes().splitlines(True)
    path.write_bytes(b"".join([head, *(lines * 5)]))


def films_twice(field: Path, tool: Run) -> None:
    """Videos in a folder, and the same ones in a folder below."""
    films(field)
    for path in sorted((field / "photos").glob("v[01].*")):
        (field / "photos" / "again").mkdir(exist_ok=True)
        shutil.copy(str(path), str(field / "photos" / "again"))
    dated(field)
    tool(PROCESS, *WHOLE)


def films_and_photos(field: Path, tool: Run) -> None:
    films(field, 3)


WHOLE = ("--videos", "upload")
STALE = "0" * 31  # how an md5 begins that was true of an older track or file
SAMPLE = "sample_video --import_path {}/photos --video_path {}/ride.mp4"


def to_send(field: Path, tool: Run) -> None:
    """Processed photos in two sequences."""
    making.drive(field / "photos", 4, filler=40000)
    for path in making.drive(field / "more", 4, lat=10.0, start="2024:05:06 09:00:00"):
        path.rename(field / "photos" / ("m" + path.name))
    (field / "more").rmdir()
    dated(field)
    tool(PROCESS)


def to_send_twice(field: Path, tool: Run) -> None:
    """Processed photos in a folder, and the same ones in a folder below."""
    making.drive(field / "photos", 3, filler=40000)
    shutil.copytree(str(field / "photos"), str(field / "photos" / "again"))
    dated(field)
    tool(PROCESS)


def reported(field: Path, tool: Run) -> None:
    """Processed photos, and a page of fewer."""
    drive(field, 3)
    tool(PROCESS)
    tool(REPORT)
    making.drive(field / "photos" / "more", 6, lat=10.0)
    tool(PROCESS)


REPORT = "report --import_path {}/photos --output_path {}/page.html"


def written_track(field: Path, tool: Run) -> None:
    """A track that was written before, from a shorter one."""
    drive(field)
    track(field, 30)
    tool(GPX)
    track(field, 60)


GPX = (
    "extract_geotag_data --import_path {}/photos --advanced --geotag_source gpx"
    " --geotag_source_path {}/track.gpx --write_gpx {}/understood.gpx"
)


def downloaded(field: Path, tool: Run) -> None:
    """A list of an earlier download."""
    making.photo(field / "downloaded" / "7.jpg")
    listed = field / "downloaded" / "downloaded.csv"
    listed.write_text("name,latitude,longitude,capture_time\n7.jpg,1.0,2.0,x\n", encoding="ascii")
    dated(field)


def authenticated(field: Path, tool: Run) -> None:
    """Credentials of somebody else."""
    service.write_config(field / "config", "token-of-other", "other")


def slow() -> service.Service:
    return service.Service(latency=0.004)


def with_photos() -> service.Service:
    photos = [
        service.Photo(str(1000 + n), 57.7 + n / 1e4, 11.9, 1714979289123 + n * 1000, SIZES)
        for n in range(5)
    ]
    return service.Service(photos=photos, latency=0.002, check=False)


CSV = (
    "process_csv --import_path {}/photos --csv_path {}/table.csv --filename_column 1"
    " --timestamp_column 2 --latitude_column 3 --longitude_column 4"
)
INTERPOLATE = "interpolate --import_path {}/photos --data "
LOG_IN = (
    "authenticate --user_name demo --user_email demo@example.com --config_file {}/config"
    " --user_password 'correct horse' --force_overwrite"
)
FRAME = r"photos/ride_\d+\.jpg$"
OURS = ("mtime", "settings", "digest")  # of frames, which the run itself makes

_ALL = [
    Scenario("process", plain, PROCESS + " --workers 3 --verbose"),
    Scenario(
        "process_gpx",
        along_track,
        PROCESS + " --geotag_source gpx --geotag_source_path {}/track.gpx --workers 1",
    ),
    Scenario("process_workers", many, PROCESS + " --workers 2", few=True),
    Scenario("process_workers_spawned", many, PROCESS + " --workers 2", few=True, spawned=True),
    Scenario(
        "process_workers_gpx",
        long_along_track,
        PROCESS + " --workers 2 --geotag_source gpx --geotag_source_path {}/track.gpx",
        few=True,
    ),
    Scenario("process_keep", only_drive, PROCESS + " --keep_original"),
    Scenario("process_folders", two_folders, PROCESS + " --workers 1"),
    Scenario("process_again", processed("--offset_angle", "90"), PROCESS + " --workers 1"),
    Scenario(
        "process_keep_again",
        processed("--offset_angle", "90", "--keep_original"),
        PROCESS + " --keep_original --workers 1",
    ),
    Scenario(
        "process_compacting",
        processed("--rerun", "--offset_angle", "90", times=3),
        PROCESS + " --workers 1",
    ),
    Scenario("process_csv", pairs, CSV),
    Scenario("process_csv_keep", pairs, CSV + " --keep_original"),
    Scenario("process_csv_workers", many_rows, CSV, few=True),
    Scenario("interpolate_times", pairs, INTERPOLATE + "identical_timestamps"),
    Scenario("interpolate_places", pairs, INTERPOLATE + "missing_gps"),
    Scenario(
        "interpolate_table",
        table,
        "interpolate --data identical_timestamps --file_in_path {}/table.csv --time_column 1",
    ),
    Scenario("sample_video", video, SAMPLE, made=FRAME, hidden=OURS[:1], needs="ffmpeg"),
    Scenario("sample_again", sampled, SAMPLE, made=FRAME, hidden=OURS[:1], needs="ffmpeg"),
    Scenario(
        "video_process",
        video,
        SAMPLE.replace("sample_video", "video_process")
        + " --user_name demo --advanced --geotag_source gpx --geotag_source_path {}/track.gpx",
        made=FRAME,
        hidden=OURS,
        needs="ffmpeg",
    ),
    Scenario("upload", to_send, "upload --import_path {}/photos", faulty=slow),
    Scenario("upload_copies", to_send_twice, "upload --import_path {}/photos", faulty=slow),
    Scenario(
        "process_and_upload",
        only_drive,
        PROCESS.replace("process", "process_and_upload", 1),
        faulty=slow,
    ),
    Scenario("upload_stand_in", to_send, "upload --import_path {}/photos --stand_in {}/received"),
    Scenario("process_videos", films_to_process, PROCESS + " --workers 1 --videos upload"),
    Scenario("process_videos_again", films_again, PROCESS + " --videos upload"),
    Scenario(
        "upload_videos",
        films_to_send,
        "upload --import_path {}/photos --videos upload",
        faulty=slow,
    ),
    Scenario(
        "upload_videos_compacting",
        films_long,
        "upload --import_path {}/photos --videos upload",
        faulty=slow,
    ),
    Scenario(
        "upload_videos_copies",
        films_twice,
        "upload --import_path {}/photos --videos upload",
        faulty=slow,
    ),
    Scenario(
        "process_and_upload_videos",
        films_and_photos,
        PROCESS.replace("process", "process_and_upload", 1) + " --videos upload",
        faulty=slow,
    ),
    Scenario(
        "upload_videos_stand_in",
        films_to_send,
        "upload --import_path {}/photos --videos upload --stand_in {}/received",
    ),
    Scenario("report", reported, REPORT),
    Scenario("export", reported, "export --import_path {}/photos --output_path {}/all.geojson"),
    Scenario("restore", processed("--offset_angle", "90"), "restore --import_path {}/photos"),
    Scenario("write_gpx", written_track, GPX),
    Scenario(
        "download_images",
        downloaded,
        "download_images 57.69 57.74 11.85 11.95 --output_path {}/downloaded",
        faulty=with_photos,
    ),
    Scenario("authenticate", authenticated, LOG_IN, faulty=service.Service),
]
SCENARIOS: Dict[str, Scenario] = {one.name: one for one in _ALL}
