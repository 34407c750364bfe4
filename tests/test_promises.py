"""Every promise stands in one table with the test that holds it, and what is said elsewhere is in the table.

README.md, section "What it promises": a promise, and the test. Whoever writes a new promise on a screen, on the page or
in README.md has to add the row; whoever removes a test has to remove the promise.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SECTION = re.compile(r"^## What it promises\n(.*?)(?=^## )", re.M | re.S)
# Words by which people promise something for every time.
PROMISING = re.compile(
    r"\b(never|always|nothing|nobody|no one|cannot|can't|deletes? itself|survives?|in no case|guaranteed?|only"
    r"|no (?:frame|picture|image|pixel|connection|socket|cloud|account)s?|not (?:stored|kept|sent|shown))\b",
    re.I,
)
SCREENS = ("appliance/tui", "appliance/cli", "runtime/display", "runtime/overlay.py", "runtime/state.py")


def rows() -> list[tuple[str, str]]:
    """(promise, test) of README's table."""
    section = SECTION.search((ROOT / "README.md").read_text())
    assert section is not None, "README.md has no section `What it promises`"
    found = re.findall(r"^\| (?!---)(.+?) \| (.+?) \|$", section[1], re.M)
    return [(promise, held) for promise, held in found if "`tests/" in held]


def plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[*`]", "", text)).strip().lower()


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize(("promise", "holders"), rows(), ids=lambda text: text[:40])
def test_a_promise_is_held_by_a_test(promise: str, holders: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", holders)
    assert named, f"no test holds: {promise}"
    for path, name in named:
        assert (ROOT / path).is_file(), f"{promise}: {path} is not there"
        assert not name or name in names_in(ROOT / path), f"{promise}: {path} has no {name}"


def said() -> Iterator[tuple[str, str]]:
    """(where, sentence) of everything that a person reads on a screen, on the page or in README.md's own words."""
    for place in SCREENS:
        for path in sorted([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*")):
            where = str(path.relative_to(ROOT))
            if path.suffix == ".py":
                for text in literals(path):
                    yield from ((where, sentence) for sentence in sentences(text))
            elif path.suffix == ".html":
                for text in re.findall(r">([^<]+)<", path.read_text()):
                    yield from ((where, sentence) for sentence in sentences(text))
            elif path.suffix == ".js":
                for _, text in re.findall(r"([\"'`])((?:(?!\1).)*)\1", path.read_text()):
                    yield from ((where, sentence) for sentence in sentences(text))


def literals(path: Path) -> Iterator[str]:
    """The texts in a module that are no docstrings, of a module, a function or a constant."""
    tree = ast.parse(path.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value


def sentences(text: str) -> list[str]:
    return [one.strip() for one in re.split(r"(?<=[.!?:;])\s+", text) if one.strip()]


# Said with such words, and no promise: what is so at that moment, what to do, what an option does, what went wrong.
NO_PROMISE = {
    "it finds nobody",
    "it finds nobody yet",
    "only the environment of an external trainer:",
    "shows nobody",
    "--only",
    "Is the bed empty, and does nobody stand in the picture?",
    "It can't be brought back.",
    "Nobody sees a skeleton until it is started again.",
    "Nothing is kept yet.",
    "Stop the live path?… Nobody sees a skeleton until it is started again.",
    "The bed is empty and nobody is in it:",
    "NOBODY DETECTED IN BED",
    "NOBODY IN BED",
    "This screen has no connection to the box beside the bed.",
    "can't be read:",
    "can't serve on port",
    "can't serve on port … (…)",
    "combine it with the newest calibration, where nothing has moved since",
    "it can't be tuned",
    "nobody would notice a bumped camera",
    "not kept;",
    "nothing needs mending",
    "nothing of it is left",
    "nothing to mend:",
    "nothing was tuned yet",
    "nothing yet",
    "number … can't be read:",
    "numba (default, needs nothing), moderngl (OpenGL by EGL) or pyrender",
    "only say the page's address with its key",
    "only say what would be done",
    "only what an Azure Kinect or its successors need",
    "only what this person did, by log-in or account",
    "the plate was not kept",
    "the whole way on the simulated ward, from nothing to live",
    "this PIN can't be taken",
    "until then All steps tunes the detector only",
    "without it, only check",
}


def held(sentence: str, promises: list[str]) -> bool:
    """Whether a line of the table says in the same words what the sentence promises, in each clause that does."""
    clauses = [
        clause.strip(" .…").removeprefix("which ").removeprefix("and ")
        for clause in re.split(r"[;:,}]", plain(sentence))
    ]
    return all(any(clause in promise for promise in promises) for clause in clauses if PROMISING.search(clause))


def test_what_screens_promise_stands_in_the_table() -> None:
    promises = [plain(promise) for promise, _ in rows()]
    missing = {
        f"{where}: {sentence}"
        for where, sentence in said()
        if PROMISING.search(sentence) and sentence not in NO_PROMISE and not held(sentence, promises)
    }
    assert not missing, "no line of README's table holds these:\n" + "\n".join(sorted(missing))


def test_no_sentence_is_excused_that_nobody_says() -> None:
    assert {sentence for _, sentence in said()} >= NO_PROMISE
