"""What fuzz.py feeds to the readers of tables, and what the page of a report shows of names."""

import csv
import functools
import html.parser
import io
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import mapillary_tools as mt
from fuzz_targets import KINDS, Kind, allowed, demand, room

COLUMNS = [
    {"filename_column": 1, "timestamp_column": 2, "latitude_column": 3, "longitude_column": 4},
    {"filename_column": 1, "timestamp_column": 2, "convert_gps_time": True, "gps_week_column": 3},
    {"filename_column": 2, "timestamp_column": 1, "convert_utc_time": True, "altitude_column": 3},
    {
        "filename_column": 1,
        "heading_column": 2,
        "meta_columns": "2,3,4,5,2",
        "meta_names": "a,b,c,d,e",
        "meta_types": "double,long,date,boolean,string",
    },
]


def table_seeds() -> List[bytes]:
    """Tables as spreadsheets and scripts write them."""
    head = "name,time,lat,lon,heading\n"
    rows = [f"000{n}.jpg,2024:05:06 07:08:0{n}.5,57.{n},11.97,{n}\n" for n in range(1, 5)]
    quoted = [f'"a/000{n}.jpg","1714979289,5","57,{n}","true"\r\n' for n in range(1, 5)]
    week = "1714979289.5;0001.jpg;2300\n1714979289.5;0002.jpg;2300\n"
    texts = [head + "".join(rows), "".join(quoted), week, '"0001.jpg","a\nb",1\n"x"" y,3\n']
    return [text.encode() for text in texts] + [("\ufeff" + head).encode("utf-16-le")]


def check_table(content: bytes) -> None:
    """process_csv up to what each image is given, and interpolate of a table."""
    path = room("table") / "a.csv"
    path.write_bytes(content)
    images = [mt.Image(Path(f"a/000{n}.jpg"), found=mt.NOTHING_FOUND) for n in range(1, 5)]
    for delimiter in (",", ";"):
        rows = allowed(lambda mark=delimiter: mt.read_table(path, mark))  # type: ignore
        for named in COLUMNS if rows is not None else ():
            options = mt.CsvColumns(str(path), **named)
            matched, _ = mt.match_rows(rows, images, options)
            for image in images:
                mt.pack_image(mt._with_row(image, matched.get(image.path), options, mt.row_values))
                for row in rows[:9]:
                    with_row = mt._with_row(image, row, options, mt.row_values)
                    if with_row.given and with_row.outcome is None:
                        mt.edits_of(mt._as_given(with_row), None)
    for column, utc in ((0, True), (1, False), (1, True)):
        path.write_bytes(content)
        asked = mt.Interpolation(
            data="identical_timestamps",
            file_in_path=str(path),
            time_column=column,
            time_utc=utc,
            time_format="%Y:%m:%d %H:%M:%S",
        )
        options = mt.Options([asked, mt.Table(), mt.Keep(), mt.Dry()])
        report = allowed(lambda given=options: mt.interpolate_table(given, mt.Ui()))  # type: ignore
        if report is None:
            continue  # a table without a row
        after = path.read_bytes()
        demand(report.done or after == content, "nothing to change, and changed")
        lost = content.count(b"\n") - after.count(b"\n")
        demand(not lost, "lines were lost")


def list_seeds() -> List[bytes]:
    """The list of a download, and other tables."""
    head = ",".join(mt._LIST_HEADER) + "\n"
    return [head.encode(), (head + "12.jpg,1,2,3\n7.jpg,,,\n").encode(), b"other,table\n1,2\n"]


def check_list(content: bytes) -> None:
    """The list of a download, brought up to date."""
    path = room("list") / "downloaded.csv"
    path.write_bytes(content)
    shot = {"12.jpg": mt.Shot("http://x", "1.0000000", "2.0000000", "2024-05-06T07:08:09.000Z")}
    if allowed(lambda: mt.merge_list(str(path), shot) or True) is None:
        demand(path.read_bytes() == content, "somebody's table was changed")
        return
    text = io.StringIO(content.decode("utf-8", "replace"), newline="")
    before = next((row for row in csv.reader(text) if row), mt._LIST_HEADER)
    demand(before == mt._LIST_HEADER, "somebody's table was taken for ours")
    with open(str(path), newline="", encoding="utf-8") as stream:
        rows = {row[0]: row for row in csv.reader(stream) if row}
    demand(rows["12.jpg"] == ["12.jpg", *shot["12.jpg"][1:]], "the new row does not read back")


# ---- Page


class _Page(html.parser.HTMLParser):
    """What a browser sees of a page: its elements, its title and its data."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: List[str] = []
        self.texts: Dict[str, str] = {}
        self.at = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append(tag)
        self.at = tag + str(dict(attrs).get("id", ""))

    def handle_data(self, data: str) -> None:
        self.texts[self.at] = self.texts.get(self.at, "") + data

    def handle_endtag(self, tag: str) -> None:
        self.at = ""


def seen(page: str) -> _Page:
    """A page as a browser sees it."""
    parser = _Page()
    parser.feed(page)
    return parser


seen_before = functools.lru_cache(maxsize=1)(seen)


def page_seeds() -> List[bytes]:
    """Names and reasons that a page shows, a row a name."""
    rows = [
        {"title": "drive", "names": ["a.jpg", "</script><script>alert(1)</script>.jpg"]},
        {"title": "<b>&amp;\ud800", "names": ["\u2028\x00.jpg", "'\"`${x}.jpg", "=cmd|x!A1.jpg"]},
        {"title": "DATA", "names": ["@TITLE@.jpg", "<!--.jpg", "]]>.jpg"]},
    ]
    return [json.dumps(row).encode() for row in rows]


def _texts(row: Any) -> Tuple[str, List[str]]:
    names = row.get("names") if isinstance(row, dict) else None
    title = str(row.get("title")) if isinstance(row, dict) else ""
    return title, [str(name) for name in names] if isinstance(names, list) else []


EMPTY_PAGE = mt.PAGE_BEGIN + mt.PAGE_HEAD.replace("@SCRIPT@", mt.PAGE_SCRIPT + mt.PAGE_SCRIPT_BELOW)


def check_page(content: bytes) -> None:
    """Whatever is in names of files and folders is text on the page."""
    title, names = _texts(mt.parsed(content.decode("utf-8", "replace")))
    report = mt.Report("report")
    page = mt._Page([title or "x"], mt.PageOptions(), report)
    fix = mt.Fix(1714979289.0, 57.7, 11.97)
    row = mt.PageSequence("s", fix.time, mt.Origin(title))
    for name in names:
        image = mt.Image.at(Path("x"), fix)._replace(path=mt.Image.at("x", fix).path)
        spot = mt._spot(image, fix)
        spot.name = name
        row.points.append(spot)
        page.lost.append((name, name))
        mt.shown(name)
    page.sequences.append((row, mt.SequenceCount("s")))
    whole = mt._page_text(page).encode("utf-8", "backslashreplace").decode("utf-8")
    parser, plain = seen(whole), seen_before(EMPTY_PAGE)
    demand(parser.elements == plain.elements, "elements that the page has not")
    demand("<" not in parser.texts["scriptdata"], "what a browser may take for markup")
    data = json.loads(parser.texts["scriptdata"])
    told = [point[0] for point in data["sequences"][0]["points"]]
    clean = [name.encode("utf-8", "backslashreplace").decode("utf-8") for name in names]
    demand(told == clean, "names read back otherwise")
    if title.isprintable() and title.strip() == title != "":
        demand(parser.texts.get("title") == page.title, "another title")


KINDS.update(
    {
        "table": Kind(
            table_seeds, check_table, words=(b'"', b'""', b"=1+1", b"\xef\xbb\xbf", b"\0")
        ),
        "list": Kind(list_seeds, check_list, words=(b'"', b'""', b"\r", b"\0")),
        "page": Kind(
            page_seeds, check_page, words=(b"</script>", b"<!--", b"@DATA@"), rows="whole"
        ),
    }
)
