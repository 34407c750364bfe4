"""wardpose calibrate tags, corners, depth, manual, confirm, show: where the camera stands relative to the bed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.cli.asking import add_reason, ask
from appliance.cli.output import Output
from appliance.cli.values import pixel, point, squares

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from appliance.site.calibrations import CalibrationRow
    from appliance.site.folder import SiteFolder
    from calibration.estimate import CalibrationEstimate
    from runtime.frames import Frame


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser("calibrate", help="find where the camera stands relative to the bed")
    methods = parser.add_subparsers(title="how", metavar="HOW", dest="how", required=True)
    looking = argparse.ArgumentParser(add_help=False)
    looking.add_argument("--source", help="where the picture comes from (default: the site's camera)")
    looking.add_argument(
        "--intrinsics",
        type=Path,
        help="the lens, where the source does not know it: a Kinect's JSON, or a file of `calibrate intrinsics`",
    )
    add_reason(looking)
    confirming = argparse.ArgumentParser(add_help=False)
    confirming.add_argument(
        "--confirm", choices=("yes", "turned", "no"), help="whether head and foot are right (default: ask, or no)"
    )
    confirming.add_argument(
        "--refine", action="store_true", help="combine it with the newest calibration, where nothing has moved since"
    )
    confirming.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="keep the picture with the bed drawn on it; audited"
    )
    tags = methods.add_parser(
        "tags", parents=[common, looking, confirming], help="from the printed tag sheet on the empty bed"
    )
    tags.add_argument(
        "--print", dest="print_to", type=Path, metavar="FILE.pdf", help="write the sheet to print, and stop"
    )
    tags.add_argument("--paper", choices=("sheet", "a3", "a4"), default="sheet", help="one large page, or tiles")
    tags.add_argument(
        "--board", choices=("sheet", "charuco"), default="sheet", help="the sheet of four tags, or a ChArUco board"
    )
    tags.set_defaults(run=by_tags)
    corners = methods.add_parser(
        "corners", parents=[common, looking, confirming], help="from the mattress's four corners in the picture"
    )
    corners.add_argument(
        "corner", nargs=4, type=pixel, metavar="X,Y",
        help="pixels of head right, head left, foot left, foot right (the patient's sides, lying on the back)",
    )  # fmt: skip
    corners.set_defaults(run=by_corners)
    depth = methods.add_parser(
        "depth", parents=[common, looking, confirming], help="from depth alone: no target, with or without a patient"
    )
    depth.set_defaults(run=by_depth)
    manual = methods.add_parser("manual", parents=[common, looking, confirming], help="from a tape measure")
    manual.add_argument(
        "--azimuth", type=float, required=True, help="degrees; 0 = from the foot end, + to the patient's right"
    )
    manual.add_argument("--elevation", type=float, required=True, help="degrees above the mattress")
    manual.add_argument("--distance", type=float, required=True, help="metres from the point looked at")
    manual.add_argument("--roll", type=float, default=0.0, help="degrees")
    manual.add_argument(
        "--look-at", type=point, default=(0.0, 0.0, 0.0), metavar="X,Y,Z", help="metres from the mattress's centre"
    )
    manual.set_defaults(run=by_hand)
    other = methods.add_parser(
        "with", parents=[common, looking, confirming], help="by any installed method, one of a package of yours too"
    )
    other.add_argument("method", metavar="NAME[:ARGUMENT]", help="such as depth, or the name that a package declares")
    other.set_defaults(run=by_method)
    lens = methods.add_parser("intrinsics", parents=[common], help="the lens of another camera, from views of a board")
    lens.add_argument("pictures", nargs="+", type=Path, metavar="PICTURE", help="photographs of the board, 6 or more")
    lens.add_argument("--squares", type=squares, default=(7, 5), metavar="7x5", help="of the board (default 7x5)")
    lens.add_argument("--square-mm", type=float, default=110.0, help="edge of a square (default 110)")
    lens.add_argument("--marker-mm", type=float, default=83.0, help="edge of a marker (default 83)")
    lens.add_argument("--out", type=Path, required=True, metavar="LENS.json", help="for --intrinsics of the others")
    lens.set_defaults(run=find_intrinsics)
    show = methods.add_parser("show", parents=[common], help="one page: how well the newest calibration is known")
    show.add_argument("--samples", type=int, default=1000, help="samples of the posterior (default 1000)")
    show.add_argument("--out", type=Path, metavar="FILE.png", help="default: in the site's folder of pictures")
    show.add_argument(
        "--look", action="store_true", help="draw the bed over a picture taken now; kept in the file, and audited"
    )
    add_reason(show)
    show.set_defaults(run=show_newest)
    confirm = methods.add_parser("confirm", parents=[common], help="confirm the newest calibration's head and foot")
    confirm.add_argument("--turned", action="store_true", help="head and foot were exchanged: turn them round")
    add_reason(confirm)
    confirm.set_defaults(run=confirm_newest)


def by_tags(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import calibrate_tags, print_tag_sheet
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    if options.print_to:
        pages = print_tag_sheet(site, options.print_to, paper=options.paper, board=options.board)
        out.say(
            f"{options.print_to}: {pages} page{'s' if pages > 1 else ''}; print at 100 %, then measure the 100 mm ruler"
        )
        out.answer({"ok": True, "file": options.print_to, "pages": pages})
        return 0
    seen = _Seen()
    _ask_to_look(options, "charuco" if options.board == "charuco" else "tags")
    with out.progress("looking for the tag sheet") as progress:
        estimate = calibrate_tags(
            site, source=options.source, intrinsics=options.intrinsics, progress=progress, board=options.board,
            on_better=seen,
        )  # fmt: skip
    return _finish(site, estimate, seen, options, out)


def by_depth(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import calibrate_by_depth
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    seen = _Seen()
    _ask_to_look(options, "depth")
    with out.progress("looking for the bed") as progress:
        estimate = calibrate_by_depth(
            site, source=options.source, intrinsics=options.intrinsics, progress=progress, on_better=seen
        )
    return _finish(site, estimate, seen, options, out)


def by_method(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import calibrate
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    seen = _Seen()
    _ask_to_look(options, str(options.method))
    with out.progress("looking for the bed") as progress:
        estimate = calibrate(
            site, options.method, source=options.source, intrinsics=options.intrinsics, progress=progress,
            on_better=seen,
        )  # fmt: skip
    return _finish(site, estimate, seen, options, out)


def by_corners(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import calibrate_by_corners
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    seen = _Seen()
    _ask_to_look(options, "corners")
    estimate = calibrate_by_corners(
        site, options.corner, source=options.source, intrinsics=options.intrinsics, on_better=seen
    )
    return _finish(site, estimate, seen, options, out)


def by_hand(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import calibrate_by_hand
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    seen = _Seen()
    _ask_to_look(options, "manual")
    estimate = calibrate_by_hand(
        site, azimuth_deg=options.azimuth, elevation_deg=options.elevation, distance=options.distance,
        roll_deg=options.roll, look_at=options.look_at, source=options.source, intrinsics=options.intrinsics,
        on_better=seen,
    )  # fmt: skip
    return _finish(site, estimate, seen, options, out)


def confirm_newest(options: argparse.Namespace, out: Output) -> int:
    from appliance.site import calibrations
    from appliance.site.folder import SiteFolder

    row = calibrations.CalibrationRow(
        **ask(options, "calibrations.confirm", turned=options.turned, reason=options.reason)
    )
    site = SiteFolder.open(options.home)
    out.say(f"calibration {row.id} ({row.method}) is confirmed and in use")
    retune = _say_whether_to_retune(site, row, out)
    out.answer({"ok": True, "id": row.id, "method": row.method, "confirmed": True, "retune": retune})
    return 0


def find_intrinsics(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside.calibrate import measure_lens

    fit = measure_lens(
        options.pictures, options.out, squares=options.squares, square_m=options.square_mm / 1e3,
        marker_m=options.marker_mm / 1e3,
    )  # fmt: skip
    out.say(
        f"{options.out}: fx {fit.camera.fx:.1f} ± {fit.sigmas[0]:.1f} px from {fit.views} pictures, "
        f"reprojection {fit.rms_px:.2f} px"
    )
    left_out = [options.pictures[index] for index in fit.left_out]
    if left_out:
        out.say(f"no whole board in {', '.join(path.name for path in left_out)}")
    out.answer(
        {
            "ok": True, "file": options.out, "rms_px": fit.rms_px, "views": fit.views, "left_out": left_out,
            "camera": fit.camera.to_dict(),
        }
    )  # fmt: skip
    return 0


def show_newest(options: argparse.Namespace, out: Output) -> int:
    from appliance.bedside import calibration_pages
    from appliance.site.folder import SiteFolder

    site = SiteFolder.open(options.home)
    if options.look:
        ask(options, "camera.look", what="picture", reason=f"the bed drawn on the picture: {options.reason}")
    path = calibration_pages.write_page(site, options.out, samples=options.samples, look=options.look)
    out.say(f"{path}: how {options.samples} samples of the posterior lie around the estimate")
    out.answer({"ok": True, "file": path, "samples": options.samples})
    return 0


def _finish(
    site: SiteFolder, estimate: CalibrationEstimate, seen: _Seen, options: argparse.Namespace, out: Output
) -> int:
    from appliance.site import calibrations
    from calibration.files import estimate_text
    from calibration.outline import where_the_head_is

    if options.refine:
        estimate = calibrations.refine_newest(site, estimate)
    view = estimate.viewpoint
    out.say(
        f"azimuth {view.azimuth_deg:.1f}°, elevation {view.elevation_deg:.1f}°, distance {view.distance:.2f} m, "
        f"roll {view.roll_deg:.1f}°"
    )
    out.say(
        f"known to {estimate.rotation_sigma_deg:.2f}° and {estimate.centre_sigma_mm:.0f} mm (one σ); "
        f"reprojection {estimate.reprojection_px:.2f} px"
    )
    for note in estimate.notes:
        out.say(f"note: {note}")
    if seen.color is not None:
        _show_bed(estimate, seen.color, options, out)
    out.say(where_the_head_is(estimate))
    row = calibrations.CalibrationRow(**ask(options, "calibrations.keep", estimate=estimate_text(estimate)))
    answer = options.confirm or _ask()
    if answer != "no":
        told = ask(options, "calibrations.confirm", id=row.id, turned=answer == "turned", reason=options.reason)
        row = calibrations.CalibrationRow(**told)
        out.say(f"calibration {row.id} is confirmed and in use")
        _say_whether_to_retune(site, row, out)
    else:
        out.say("kept, but not in use until somebody confirms head and foot: wardpose calibrate confirm [--turned]")
    used = calibrations.load(site, row)
    view = used.viewpoint
    out.answer(
        {
            "ok": True, "id": row.id, "method": row.method, "confirmed": row.confirmed, "azimuth_deg": view.azimuth_deg,
            "elevation_deg": view.elevation_deg, "distance_m": view.distance, "roll_deg": view.roll_deg,
            "rotation_sigma_deg": used.rotation_sigma_deg, "centre_sigma_mm": used.centre_sigma_mm,
            "reprojection_px": used.reprojection_px, "notes": used.notes,
        }
    )  # fmt: skip
    return 0


def _say_whether_to_retune(site: SiteFolder, row: CalibrationRow, out: Output) -> bool | None:
    """Compare with the calibration before it, from whose posterior the images in use were sampled."""
    from appliance.site import calibrations

    retune = calibrations.leaves_earlier_view(site, row)
    if retune:
        out.say("the view has left what images were sampled from: make new ones and tune again (wardpose synth, tune)")
    elif retune is not None:
        out.say("the view lies within what images were sampled from: no new tuning is needed")
    return retune


class _Seen:
    """The picture that the estimate was made on."""

    def __init__(self) -> None:
        self.color: NDArray[np.uint8] | None = None

    def __call__(self, frame: Frame, _: CalibrationEstimate) -> None:
        self.color = frame.color


def _ask_to_look(options: argparse.Namespace, method: str) -> None:
    """The camera is about to be looked through for pictures to calibrate by, of which none is kept."""
    ask(options, "camera.look", source=options.source, what="calibration", reason=f"{method}: {options.reason}")


def _show_bed(
    estimate: CalibrationEstimate, color: NDArray[np.uint8], options: argparse.Namespace, out: Output
) -> None:
    """The bed drawn over the picture: in the terminal's cells, and in the file that was asked for; both audited."""
    from appliance.bedside import calibration_pages

    def note(more: str = "") -> None:
        why = f"the bed drawn on the picture{more}: {options.reason}"
        ask(options, "camera.look", source=options.source, what="picture", reason=why)

    if (path := options.picture) is not None:
        note(f", kept in {path.name}")
        calibration_pages.write_picture(estimate, color, path)
        out.say(f"{path}: the bed drawn on the picture")
    if out.is_terminal:
        note()
        out.picture(color, estimate)


def _ask() -> str:
    """The person's answer; `no` where nobody is there to give one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return "no"
    print("Is that right? [y]es, [t]urned round, [n]ot sure: ", end="", file=sys.stderr, flush=True)
    return {"y": "yes", "t": "turned"}.get(sys.stdin.readline().strip().lower()[:1], "no")
