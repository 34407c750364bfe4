"""A program that takes the whole terminal, with a parent that gives the terminal back if it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable

# Off: mouse reports of every kind, focus reports, bracketed paste, the other keyboard protocol, the other screen; then
# the cursor on and plain colours.
_PLAIN_AGAIN = (
    "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?1015l\x1b[?2004l\x1b[<u\x1b[?1049l\x1b[?25h\x1b[0m"
)


def watched(show: Callable[[], int]) -> int:
    """Run `show` in a child; returns its exit code.

    Killed, a program can't put the terminal back: keys go unechoed, Ctrl-C does nothing, the mouse writes letters. The
    parent notes how the terminal was, and when the child is killed makes it so again and says what happened.
    """
    import termios

    try:
        before = termios.tcgetattr(0)
    except termios.error:
        return show()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            code = show()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            if sys.exc_info()[0] is None:
                os._exit(code)
        return code
    # Ctrl-C is a key of the child's while it lives; whoever ends the parent means the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: _pass_on(child, received))
    ended = _wait(child)
    if not os.WIFSIGNALED(ended):
        return os.WEXITSTATUS(ended)
    with contextlib.suppress(termios.error):
        termios.tcsetattr(0, termios.TCSAFLUSH, before)
    with contextlib.suppress(OSError):
        os.write(1, _PLAIN_AGAIN.encode())
    name = signal.Signals(os.WTERMSIG(ended)).name
    sys.stderr.write(f"wardpose: the terminal UI was killed ({name}); the live path and the jobs go on\n")
    return 128 + os.WTERMSIG(ended)


def _pass_on(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, number)


def _wait(child: int) -> int:
    while True:
        with contextlib.suppress(InterruptedError):
            return os.waitpid(child, 0)[1]
