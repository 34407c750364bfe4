"""The command line: `wardpose COMMAND`. Each module of this package adds its commands; work is imported when done."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from appliance import program
from appliance.cli import (
    audit,
    backgrounds,
    bench,
    calibrate,
    camera,
    completion,
    data,
    demo,
    engines,
    examples,
    home,
    jobs,
    live,
    models,
    plates,
    retarget,
    roles,
    skeletons,
    station,
    study,
    ward_station,
)
from appliance.cli.meant import nearest
from appliance.cli.output import Output
from appliance.cli.streams import give_up, usable_streams, visible
from appliance.cli.values import finite_number, place, whole_number, word
from calibration.errors import WardposeError
from calibration.redaction import redacted

_OUTPUT_LOST = 74  # sysexits.h: an error of input or output
STOPPED = "stopped; what was finished is kept"


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like every other of ours, and whose values are `cli.values`'."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        for kind, read in ((int, whole_number), (float, finite_number), (Path, place), (None, word)):
            self.register("type", kind, read)
        # What begins like a negative number is one, or several, and no option: --look-at -0.2,0,0.
        self._negative_number_matcher = re.compile(r"^-\.?\d[\d.,e+-]*$")

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        if isinstance(action, argparse._SubParsersAction):  # asks for every word behind a command, which is not its own
            return arg_string
        return super()._get_value(action, arg_string)

    def error(self, message: str) -> NoReturn:
        raise WardposeError(message, where=self.prog, mend=f"see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            if near := nearest(str(value), [str(choice) for choice in action.choices or ()]):
                raise argparse.ArgumentError(action, f"there is no {value!r}; did you mean {near!r}?") from error
            raise


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object for a program")
    common.add_argument("--home", metavar="DIR", help="the site folder (default: $WARDPOSE_HOME, ./site in a checkout)")
    parser = _Parser(
        prog="wardpose", parents=[common],
        description="Tunes a person detector to one bed's camera with synthetic images and shows a live skeleton. "
        "With no command it opens the terminal UI. It is no alarm and no medical device.",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"wardpose {version('wardpose')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    # Options may stand before or behind the command; a default behind must not undo what stood before.
    behind = argparse.ArgumentParser(add_help=False)
    behind.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object for a program"
    )
    behind.add_argument("--home", metavar="DIR", default=argparse.SUPPRESS, help="the site folder")
    looking = (demo, station, audit, roles, ward_station, camera, calibrate, plates, skeletons, backgrounds)
    for module in (*looking, data, retarget, models, engines, live, jobs, bench, study, completion):
        module.add(commands, behind)
    examples.show(commands.choices)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 130 stopped by the person, anything else failed."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    closed = usable_streams()
    program.prepare()
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Known before the arguments are understood, so that a wrong argument is answered in JSON as well.
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    out = Output(as_json="--json" in own, closed=1 in closed)
    try:
        code = _run(arguments, out)
        if not out.lost:
            return code
        return _fail(out, f"what was to be said is lost: standard output {out.lost}", code or _OUTPUT_LOST)
    except KeyboardInterrupt:
        return _fail(out, STOPPED, 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has gone: what Python flushes at exit goes nowhere
        return 141
    except WardposeError as error:
        return _fail(out, str(error), error.exit_code)
    except Exception as error:
        from calibration.disk import behind  # it knows the database, which no help needs

        if os.environ.get("WARDPOSE_DEBUG"):
            sys.stderr.write(redacted(traceback.format_exc()))
        if (told := behind(error)) is not None:
            return _fail(out, str(told), told.exit_code)
        text = " ".join(str(error).split())[:300]
        return _fail(
            out,
            f"a defect in wardpose: {type(error).__name__}: {text}; set WARDPOSE_DEBUG=1 to see where, and report it",
            70,
        )


def _run(arguments: list[str], out: Output) -> int:
    parser = build_parser()
    completion.complete(parser)
    options, rest = parser.parse_known_args(arguments)
    if options.command is None:
        if rest:
            parser.error(f"unrecognised: {' '.join(rest)}")
        home.require_no_mistake(options)
        _close_to_others(options)
        return live.open_terminal_ui(options)
    if rest:
        if options.command != "test":
            parser.error(f"`{options.command}` does not know: {' '.join(rest)}{_meant(options.command, rest)}")
        options.rest = rest
    home.require_no_mistake(options)
    from appliance.live import pauses

    _close_to_others(options)
    pauses.catch_up(options.home)
    return int(options.run(options, out))


def _close_to_others(options: argparse.Namespace) -> None:
    from appliance.site import closing

    if options.command not in ("doctor", "test"):  # the one tells how a site is, the other is about none
        closing.close_and_tell(options.home)


def _meant(command: str, rest: Sequence[str]) -> str:
    """Which option of a command somebody may have meant, in words."""
    commands = next(action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    known = [option for action in commands.choices[command]._actions for option in action.option_strings]
    near = nearest(rest[0].partition("=")[0], known) if rest[0].startswith("-") else ""
    return f"; did you mean {near}?" if near else ""


def _fail(out: Output, text: str, code: int) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    text = visible(redacted(text))
    try:
        print(text if text.startswith("wardpose") else f"wardpose: {text}", file=sys.stderr, flush=True)
    except OSError:
        give_up(2)
    if out.as_json and not out.lost:
        out.answer({"ok": False, "error": text})
    return code
