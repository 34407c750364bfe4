"""What this box keeps that came from pixels: one table, and what of it lies in this site's folder now.

`KEPT` is the only list of it: `wardpose kept` and the README's table are printed from it, and whatever lies in a site
folder and stands in no row, or is a picture in a row that promises none, is a stray (`strays`): a defect of ours, or
somebody else's file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from appliance.site.folder import SiteFolder

# How a file begins that holds a picture or an array, whatever it is called.
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*", b"\x1aE\xdf\xa3", b"\x93NUMPY")
_ARCHIVE = b"PK\x03\x04"  # such as an .npz of arrays
_SWAPS = Path("/proc/swaps")


@dataclass(frozen=True, slots=True)
class Kept:
    """One row. patterns: of paths in the site folder, `*` standing for any part; none for what lies elsewhere.

    pictures: whether somebody could be seen in it. from_pixels: False for the box's own papers, which the README's
    table leaves out.
    """

    what: str
    where: str
    how_long: str
    who_agreed: str
    how_deleted: str
    patterns: tuple[str, ...] = ()
    pictures: bool = False
    from_pixels: bool = True


KEPT = (
    Kept(
        "plates: colour and depth of the empty bed's room", "`plates/`",
        "until its date: 30 days, or as was said, at most a year",
        "who kept it, on seeing it (`plate.capture`, `plate.keep`)",
        "by itself at its date; `wardpose plates remove`",
        ("plates/*",), pictures=True,
    ),
    Kept(
        "training images: drawn people in drawn rooms or over plates", "`datasets/`",
        "over plates: as long as those plates; drawn rooms show nobody: until removed",
        "who kept the plate; who asked for the images (`job.submit`)",
        "by itself when one of its plates has ended; by removing its folder",
        ("datasets/*",), pictures=True,
    ),
    Kept(
        "contact sheets and cards of training images; the demo's pictures of its drawn ward", "`pictures/`",
        "as long as the images they show", "as for the images", "with the images; by removing the file",
        ("pictures/*/*", "pictures/training-images.png", "pictures/before-after.png", "pictures/live-*.png"),
        pictures=True,
    ),
    Kept(
        "pages of a calibration, with the camera's picture where that was asked for", "`pictures/calibration-*.png`",
        "30 days", "who asked (`camera.look` names the file)", "by itself; by removing the file",
        ("pictures/calibration-*.png",), pictures=True,
    ),
    Kept(
        "recordings of the camera", "the file named with `--out`", "until its date, at most 90 days",
        "who recorded, with a reason (`camera.record`)", "by itself at its date (`recording.delete`)",
        ("*.mkv",), pictures=True,
    ),
    Kept(
        "skeletons over time, where somebody keeps them: boxes, joints and their places, no picture", "`skeletons/`",
        "until its date, at most 90 days", "who asked, with a reason (`skeletons.record`); off by default",
        "by itself at its date (`recording.delete`); `wardpose skeletons delete`", ("skeletons/*.parquet",),
    ),
    Kept(
        "skeletons exported as C3D, BIDS or CSV", "where that person said",
        "as that person decides: the box does not delete it", "who exported (`skeletons.export` is written down)",
        "by that person",
    ),
    Kept(
        "pictures written to a file that a person named (`--picture`, `--out`)", "where that person said",
        "as that person decides: the box does not delete it",
        "who asked (`camera.look`, `plate.look` and `plate.capture` are written down)", "by that person",
    ),
    Kept(
        "what the watch knows the room and the bed by: places of spots in the picture with one bit each, lengths along "
        "the bed's rim; no picture", "`calibrations/*.watch`", "as long as its calibration is in use",
        "who confirmed the calibration (`watch.reference`)", "by itself with the next calibration (`watch.forget`)",
        ("calibrations/*.watch",),
    ),
    Kept(
        "calibrations: where the camera stands, in numbers", "`calibrations/*.json`",
        "for good, to explain what was made from it", "who calibrated and confirmed (`calibration.keep`)",
        "unconfirmed ones when refused; by removing the file", ("calibrations/*.json",),
    ),
    Kept(
        "models tuned on training images, and their compiled forms: weights, no picture", "`models/`, `engines/`",
        "until removed", "who tuned (`job.submit`)", "by removing its folder", ("models/*", "engines/*"),
    ),
    Kept(
        "logs: sentences and numbers, no picture, no box, no joint", "`logs/`",
        "5 MB a process and as much of what was before", "nobody is asked", "by itself; by removing the file",
        ("logs/*",),
    ),
    Kept(
        "frames on their way from the camera", "shared memory, `/dev/shm/wardpose-*`",
        "four frames, each until it is written over", "who started the live picture (`live.start`)",
        "by itself, with the process that reads the camera",
    ),
    Kept(
        "boxes and joints of the newest frame", "a local socket, in memory", "until the next frame",
        "who started the live picture (`live.start`)", "by itself",
    ),
    Kept(
        "how unsure the models were after tuning: running means and variances of six numbers (their doubt, brightness, "
        "contrast, number, size and shape of people); no picture, no box, no joint", "`unsureness.json`",
        "for the eight newest pairs of models", "who started the live picture (`live.start`)",
        "by removing the file", ("unsureness.json",),
    ),
    Kept(
        "core files of a crash", "nowhere: every program forbids them for itself and its children", "never", "–", "–",
    ),
    Kept(
        "swapped memory", "the box's swap, where it has one and no systemd unit forbids it, as ours do",
        "until the system writes it over", "who set the box up: `wardpose kept` says whether there is swap",
        "`swapoff -a`, or swap encrypted with a key of the boot",
    ),
    Kept(
        "the key and certificate of the ward station's view", "`station/` in the site folder",
        "until they are replaced", "who made or brought them (`station.certificate`)",
        "`wardpose station certificate`; by removing the file", ("station/*.pem",), from_pixels=False,
    ),
    Kept(
        "cameras' passwords", "`secrets.json` in the site folder, for its owner's eyes alone", "until they are deleted",
        "who named the camera with its password", "`wardpose camera forget`", ("secrets.json",), from_pixels=False,
    ),
    Kept(
        "what the simulated ward has shown: drawn people in a drawn room",
        "with the compiled kernels, beside the environment (`share/wardpose/numba`)",
        "the sixty pictures used last, until what draws them changes", "nobody is asked: they show nobody",
        "by itself; by removing the folder", from_pixels=False,
    ),
    Kept(
        "the box's own papers: settings, database with the audit trail, outages, figures of models, sockets, locks, "
        "ballast, printed sheets",
        "the site folder", "for good", "–", "–",
        ("*.toml", "site.db*", "audit.head", "*.json", "*.journal", "outages.jsonl*", "sockets/*", "*.lock", "finished",
         "ballast/*", "pictures/*.pdf", "runs/*.json"),
        from_pixels=False,
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """What of a row lies in the site folder. newest: UTC, when the newest of the files was written."""

    row: Kept
    files: int
    bytes: int
    newest: str

    def to_dict(self) -> dict[str, Any]:
        row = self.row
        return {
            "what": row.what, "where": row.where, "how_long": row.how_long, "who_agreed": row.who_agreed,
            "how_deleted": row.how_deleted, "pictures": row.pictures, "files": self.files, "bytes": self.bytes,
            "newest": self.newest,
        }  # fmt: skip


def row_of(name: str) -> Kept | None:
    """The row that explains a path in the site folder, which is given relative to it."""
    for row in KEPT:
        if any(_fits(name, pattern) for pattern in row.patterns):
            return row
    return None


def found(site: SiteFolder) -> list[Found]:
    """Every row, with what of it lies in the site folder now."""
    files = [(row_of(name), path.stat()) for name, path in _files(site)]
    result = []
    for row in KEPT:
        of = [status for explained, status in files if explained is row]
        newest = max((status.st_mtime for status in of), default=0.0)
        stamp = datetime.fromtimestamp(newest, UTC).isoformat(timespec="seconds") if of else ""
        result.append(Found(row, len(of), sum(status.st_size for status in of), stamp))
    return result


def strays(site: SiteFolder) -> list[str]:
    """The files of the site folder that no row explains, and the pictures and arrays in rows that promise none."""
    result = []
    for name, path in _files(site):
        row = row_of(name)
        if row is None:
            result.append(f"{name}: stands in no row")
        elif not row.pictures and _may_be_picture(path):
            result.append(f"{name}: is a picture or an array, which its row does not say")
    return result


def swaps() -> bool:
    """Whether this box writes memory to swap."""
    try:
        return len(_SWAPS.read_text().splitlines()) > 1
    except OSError:
        return False


def table() -> str:
    """The rows that come from pixels, as the README has them."""
    lines = ["| what | where | how long | who agreed | how it is deleted |", "|---|---|---|---|---|"]
    for row in KEPT:
        if row.from_pixels:
            cells = (row.what, row.where, row.how_long, row.who_agreed, row.how_deleted)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _fits(name: str, pattern: str) -> bool:
    """`*` alone at the end stands for whole trees; a pattern without a folder for files of the site folder itself, but
    for recordings, which may lie anywhere."""
    if "/" not in pattern and pattern != "*.mkv":
        return "/" not in name and fnmatchcase(name, pattern)
    return fnmatchcase(name, pattern)


def _files(site: SiteFolder) -> Iterator[tuple[str, Path]]:
    for path in sorted(site.root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(site.root).as_posix(), path


def _may_be_picture(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    return head.startswith(_PICTURES) or head.startswith(_ARCHIVE)
