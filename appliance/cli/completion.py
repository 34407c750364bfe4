"""Completion of commands and options in the shell, by argcomplete."""

from __future__ import annotations

import argparse
import os
from typing import Any

from appliance.cli.output import Output

SHELLS = ("bash", "zsh", "fish")


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    parser = commands.add_parser(
        "completion", parents=[common], help="print what lets a shell complete commands and options",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog='examples:\n  eval "$(wardpose completion bash)"\n  wardpose completion fish | source',
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS, nargs="?", default="bash", help="default: bash")
    parser.set_defaults(run=print_completion)


def print_completion(options: argparse.Namespace, out: Output) -> int:
    from argcomplete import shellcode

    text = shellcode(["wardpose", "./wardpose"], shell=options.shell)
    if not out.as_json:
        out.say(text)
    out.answer({"ok": True, "shell": options.shell, "code": text})
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what may follow, and end; where none asks, nothing."""
    if "_ARGCOMPLETE" in os.environ:
        from argcomplete import autocomplete

        autocomplete(parser)
