"""What the bedside page's server answers: the page itself to whoever asks, and everything else over one WebSocket to
whoever has the page's key.

The page holds nothing of anybody, so every user of the box may load it. What is seen, and each press of a button, goes
over the WebSocket, which is given the key as a subprotocol (`key.…`): neither a foreign page, which does not know it
and whose `Origin` is another, nor a name that somebody lets point at this address (`Host`), gets in. Each side that
watches has one bounded place; one that does not read loses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from calibration.errors import WardposeError
from calibration.json_text import parse_json
from runtime.display.hub import Hub
from runtime.display.limits import Allowance, Places
from runtime.display.page_key import is_key
from runtime.display.pausing import NOT_ALLOWED, PagePause
from runtime.display.words import language

PROTOCOL = "wardpose"
# Why a WebSocket was closed; page/link.js has the same numbers.
NO_KEY, TOO_MANY, TOO_SLOW, REPLACED = 4401, 4429, 4408, 4409
MOST = {"page": 8, "kiosk": 4}

_PAGE = Path(__file__).with_name("page")
_KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip
_FILES = {"/": "index.html"} | {
    f"/{name}": name
    for name in ("page.css", "icon.svg", "main.js", "keypad.js", "link.js", "scene.js", "verdict.js", "words.js")
}  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
# What of a message the page is told: whatever else a live process may say one day stays on this side.
_TOLD = (
    "state", "message", "origin", "pause", "frame_index", "width", "height", "age_ms", "stale_s", "gap_s", "sure",
    "doubtful", "fps", "engines", "patient",
)  # fmt: skip
_OF_A_PERSON = ("id", "box", "keypoints", "shown", "role", "place")

_WORD_S = 0.2  # at least so often the page hears something, or knows that nobody is there
_SLOW_S = 2.0  # how long one message may wait for its reader
_LONGEST_COMMAND = 400
_LONGEST_PIN = 12

BedOf = Callable[[int, int], list[dict[str, Any]]]


class Page:
    """The application. Its methods run on the server's event loop, but for `changed`, which any thread may call."""

    def __init__(self, hub: Hub, pause: PagePause, key: str, bed_of: BedOf, tongue: str = "en") -> None:
        """bed_of: the bed's parts in a picture of that width and height. tongue: the language of the page."""
        self.hub, self._pause, self._key, self._bed_of = hub, pause, key, bed_of
        self._words = language(tongue)
        self._edition = _edition(self._words)
        self._places = Places(MOST, makes_way=frozenset({"kiosk"}))
        self._strangers = Allowance(rate=2.0, burst=20)
        self._watchers: set[_Watcher] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        routes = [Route(path, self._file, methods=["GET"]) for path in _FILES]
        self.application: ASGIApp = Starlette(
            routes=[*routes, Route("/words", self._say_words), WebSocketRoute("/live", self._watch)]
        )

    def here(self, loop: asyncio.AbstractEventLoop) -> None:
        """The loop on which the application runs."""
        self._loop = loop

    def changed(self) -> None:
        """There is a new message: every watcher is told."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the server is ending
                self._loop.call_soon_threadsafe(self._wake)

    @property
    def watching(self) -> int:
        """How many watch now."""
        return len(self._watchers)

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.changed.set()

    async def _file(self, request: Request) -> Response:
        name = _FILES[request.url.path]
        return Response((_PAGE / name).read_bytes(), media_type=_KINDS[Path(name).suffix])

    async def _say_words(self, _: Request) -> Response:
        return JSONResponse(self._words)

    async def _watch(self, socket: WebSocket) -> None:
        offered = {name.partition(".")[0]: name.partition(".")[2] for name in socket.scope["subprotocols"]}
        if PROTOCOL not in offered or not is_key(offered.get("key", ""), self._key):
            if not self._strangers.take():
                await socket.close()  # before it was accepted: refused as any other request
                return
            await _close(socket, NO_KEY, accepted=False)
            return
        watcher = _Watcher(socket)
        kind = "kiosk" if "kiosk" in offered else "page"
        if not self._places.take(kind, watcher, watcher.make_way):
            await _close(socket, TOO_MANY, accepted=False)
            return
        self._watchers.add(watcher)
        try:
            await socket.accept(PROTOCOL)
            await self._serve(watcher)
        finally:
            self._watchers.discard(watcher)
            self._places.give_back(kind, watcher)

    async def _serve(self, watcher: _Watcher) -> None:
        """Tell it what is to be seen and carry out what it asks, until either is over."""
        tasks = [asyncio.ensure_future(one) for one in (self._tell(watcher), self._hear(watcher), watcher.replaced())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        code = next((task.result() for task in done if not task.cancelled() and not task.exception()), None)
        if code is not None:
            await _close(watcher.socket, code, accepted=True)

    async def _tell(self, watcher: _Watcher) -> int | None:
        """Every message that is the newest when the one before has been taken; returns why that ended."""
        bed_for, first = None, True
        while not self.hub.closed:
            watcher.changed.clear()
            _, message = self.hub.now()
            said = _for_page(message)
            if said["state"] == "paused":
                said["asks_pin"] = self._pause.asks_pin
            size = (int(said.get("width") or 0), int(said.get("height") or 0))
            if size != bed_for and all(size):
                said["bed"], bed_for = self._bed_of(*size), size
            if first:
                said["edition"], first = self._edition, False
            try:
                async with asyncio.timeout(_SLOW_S):
                    await watcher.socket.send_text(json.dumps(said, separators=(",", ":")))
            except TimeoutError:
                return TOO_SLOW
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WORD_S):
                    await watcher.changed.wait()
        return None

    async def _hear(self, watcher: _Watcher) -> int | None:
        try:
            while True:
                answer = await self._answer(watcher, await watcher.socket.receive_text())
                await watcher.socket.send_text(json.dumps({"answer": answer}))
        except (WebSocketDisconnect, KeyError):  # gone, or it sent bytes
            return None

    async def _answer(self, watcher: _Watcher, line: str) -> dict[str, Any]:
        """Carry out one command of the page: {"command": "pause" | "resume", "pin": …}."""
        command, pin = _command(line)
        deeds: Mapping[str, Callable[[], None]] = {"pause": self._pause.set, "resume": lambda: self._pause.lift(pin)}
        if command not in deeds:
            return {"ok": False, "what": "no such command"}
        if not watcher.allowance.take():
            return {"ok": False, "what": "too often; wait a moment"}
        try:
            await asyncio.to_thread(deeds[command])
        except WardposeError as error:
            return {"ok": False, "what": str(error), "refused": error.exit_code == NOT_ALLOWED}
        self._wake()
        return {"ok": True, "paused": self._pause.active}


class _Watcher:
    """One page that watches."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket, self.changed, self._replaced = socket, asyncio.Event(), asyncio.Event()
        self.allowance = Allowance(rate=1.0, burst=10)

    def make_way(self) -> None:
        self._replaced.set()

    async def replaced(self) -> int:
        await self._replaced.wait()
        return REPLACED


class AtThisAddress:
    """Lets in only what is addressed to one of `hosts` (`127.0.0.1:8765`) and, where it says from which page it comes,
    from a page of theirs; every answer bears the page's headers. A WebSocket must say where it comes from."""

    def __init__(self, inner: ASGIApp, hosts: set[str], scheme: str = "http") -> None:
        self._inner, self._hosts, self._origins = inner, hosts, {f"{scheme}://{host}" for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        if self._lets_in(scope):
            await self._inner(scope, receive, with_headers)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: 403
        else:
            refused = PlainTextResponse("this page is served to this box only\n", 403)
            await refused(scope, receive, with_headers)

    def _lets_in(self, scope: Scope) -> bool:
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            said.setdefault(name, []).append(value.decode("latin-1"))
        hosts, origins = said.get(b"host", []), said.get(b"origin", [])
        if len(hosts) != 1 or hosts[0] not in self._hosts or len(origins) > 1:
            return False
        if not origins:
            return bool(scope["type"] != "websocket")
        return origins[0] in self._origins


def _for_page(message: Mapping[str, Any]) -> dict[str, Any]:
    said = {name: message[name] for name in _TOLD if name in message}
    people = message.get("people") or []
    return said | {"people": [{name: one[name] for name in _OF_A_PERSON if name in one} for one in people]}


def _edition(words: dict[str, Any]) -> str:
    """Names the page's files and words: a page that was loaded from another edition loads itself again."""
    told = hashlib.sha256(json.dumps(words, sort_keys=True).encode())
    for name in sorted(_FILES.values()):
        told.update((_PAGE / name).read_bytes())
    return told.hexdigest()[:16]


def _command(line: str) -> tuple[str, str]:
    """The command and the PIN of a line, empty where it has none."""
    try:
        asked = parse_json(line) if len(line) <= _LONGEST_COMMAND else None
    except (ValueError, RecursionError):
        return "", ""
    values = [asked.get(name) if isinstance(asked, dict) else None for name in ("command", "pin")]
    command, pin = (value if isinstance(value, str) else "" for value in values)
    return command, pin[:_LONGEST_PIN]


async def _close(socket: WebSocket, code: int, *, accepted: bool) -> None:
    """Close it with a number that the page can put into words; a browser tells a page nothing of a refusal."""
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(_SLOW_S):
            if not accepted:
                await socket.accept(PROTOCOL if PROTOCOL in socket.scope["subprotocols"] else None)
            await socket.close(code)
