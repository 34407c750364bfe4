"""What the bedside page's server answers: the page itself to whoever asks, and everything else over one WebSocket to
whoever has the page's key. `runtime.display.station_page` lets others in, and less be done.

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
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
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
NO_KEY, ENDED, TOO_SLOW, REPLACED, TOO_MANY = 4401, 4403, 4408, 4409, 4429
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
HEADERS = {
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


class Watched(ABC):
    """An application that shows the hub's messages to whoever it lets in. Its methods run on the server's event loop,
    but for `changed`, which any thread may call."""

    def __init__(self, hub: Hub, bed_of: BedOf, words: dict[str, Any], places: Places) -> None:
        """bed_of: the bed's parts in a picture of that width and height, another list where it is another bed. words:
        what the page is to say, and where it stands. places: of those who watch at once."""
        self.hub, self._bed_of, self._words, self._places = hub, bed_of, words, places
        self._edition = _edition(words)
        self._strangers = Allowance(rate=2.0, burst=20)
        self._watchers: set[Watcher] = set()
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

    def close(self) -> None:  # noqa: B027 (some have nothing to put down)
        """Put down what is left to be put down; the server has ended."""

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
        if PROTOCOL not in offered or not self._may_come(offered):
            if not self._strangers.take():
                await socket.close()  # before it was accepted: refused as any other request
                return
            await _close(socket, NO_KEY, accepted=False)
            return
        watcher = Watcher(socket, offered)
        accepted = False
        try:
            while kind := self._next_place(watcher):
                if not self._places.take(kind, watcher, watcher.make_way):
                    await _close(socket, TOO_MANY, accepted=accepted)
                    return
                if not accepted:
                    await socket.accept(PROTOCOL)
                    accepted = True
                try:
                    code = await self._until_first(watcher, self._stay(watcher, kind), watcher.replaced())
                finally:
                    self._places.give_back(kind, watcher)
                if code is not None:
                    await _close(socket, code, accepted=True)
                    return
        finally:
            self._watchers.discard(watcher)

    @abstractmethod
    def _may_come(self, offered: Mapping[str, str]) -> bool:
        """Whether the WebSocket that offers these subprotocols is taken up at all."""

    @abstractmethod
    def _next_place(self, watcher: Watcher) -> str:
        """The kind of place that it takes next; empty where it has gone."""

    @abstractmethod
    async def _stay(self, watcher: Watcher, kind: str) -> int | None:
        """What happens in that place, until it is over: why, where the connection is to be closed for it."""

    @abstractmethod
    async def _answer(self, watcher: Watcher, line: str) -> dict[str, Any]:
        """Carry out one command of the page."""

    async def _until_first(self, watcher: Watcher, *deeds: Coroutine[Any, Any, int | None]) -> int | None:
        """Do them all until the first is over; returns what that one says."""
        tasks = [asyncio.ensure_future(one) for one in deeds]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return next((task.result() for task in done if not task.cancelled() and not task.exception()), None)

    async def _show(self, watcher: Watcher) -> int | None:
        """Tell it what is to be seen and carry out what it asks, until either is over."""
        self._watchers.add(watcher)
        try:
            return await self._until_first(watcher, self._tell(watcher), self._hear(watcher))
        finally:
            watcher.gone = True

    async def _tell(self, watcher: Watcher) -> int | None:
        """Every message that is the newest when the one before has been taken; returns why that ended."""
        bed: list[dict[str, Any]] | None = None
        first = True
        while not self.hub.closed:
            watcher.changed.clear()
            _, message = self.hub.now()
            said = _for_page(message)
            said |= self._besides(said)
            size = (int(said.get("width") or 0), int(said.get("height") or 0))
            if all(size) and (parts := self._bed_of(*size)) is not bed:
                said["bed"] = bed = parts
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

    def _besides(self, said: Mapping[str, Any]) -> dict[str, Any]:
        """What else this page is told with a message."""
        return {}

    async def _hear(self, watcher: Watcher) -> int | None:
        while (line := await watcher.line()) is not None:
            await watcher.say({"answer": await self._answer(watcher, line)})
        return None


class Page(Watched):
    """The bedside page: whoever has its key sees, pauses and resumes."""

    def __init__(self, hub: Hub, pause: PagePause, key: str, bed_of: BedOf, tongue: str = "en") -> None:
        """tongue: the language of the page."""
        super().__init__(hub, bed_of, language(tongue), Places(MOST, makes_way=frozenset({"kiosk"})))
        self._pause, self._key = pause, key

    def _may_come(self, offered: Mapping[str, str]) -> bool:
        return is_key(offered.get("key", ""), self._key)

    def _next_place(self, watcher: Watcher) -> str:
        return "" if watcher.gone else "kiosk" if "kiosk" in watcher.offered else "page"

    async def _stay(self, watcher: Watcher, kind: str) -> int | None:
        return await self._show(watcher)

    def _besides(self, said: Mapping[str, Any]) -> dict[str, Any]:
        return {"asks_pin": self._pause.asks_pin} if said["state"] == "paused" else {}

    async def _answer(self, watcher: Watcher, line: str) -> dict[str, Any]:
        """Carry out one command of the page: {"command": "pause" | "resume", "pin": …}."""
        command, pin = command_of(line)
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


class Watcher:
    """One page that watches. offered: the subprotocols that it offered, what stands behind the dot by what before."""

    def __init__(self, socket: WebSocket, offered: Mapping[str, str]) -> None:
        self.socket, self.offered, self.changed, self._replaced = socket, offered, asyncio.Event(), asyncio.Event()
        self.allowance = Allowance(rate=1.0, burst=10)
        self.gone = False

    @property
    def address(self) -> str:
        """Of the machine that it runs on."""
        return self.socket.client.host if self.socket.client else ""

    async def line(self) -> str | None:
        """The next that it says; None when it has gone, or sent bytes."""
        try:
            return await self.socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            self.gone = True
            return None

    async def say(self, told: Mapping[str, Any]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self.socket.send_text(json.dumps(told, separators=(",", ":")))

    def make_way(self) -> None:
        self._replaced.set()

    async def replaced(self) -> int:
        await self._replaced.wait()
        return REPLACED


class AtThisAddress:
    """Lets in only what is addressed to one of `hosts` (`127.0.0.1:8765`) and, where it says from which page it comes,
    from a page of theirs; every answer bears the page's headers. A WebSocket must say where it comes from."""

    def __init__(
        self, inner: ASGIApp, hosts: set[str], scheme: str = "http", *, own_address: bool = False,
        refusal: str = "this page is served to this box only",
    ) -> None:  # fmt: skip
        """own_address: as well the number that a connection came to, which nobody can let another name point at."""
        self._inner, self._known, self._scheme = inner, hosts, scheme
        self._own_address, self._refusal = own_address, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        if self._lets_in(scope):
            await self._inner(scope, receive, with_headers)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: 403
        else:
            refused = PlainTextResponse(f"{self._refusal}\n", 403)
            await refused(scope, receive, with_headers)

    def _lets_in(self, scope: Scope) -> bool:
        said: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            said.setdefault(name, []).append(value.decode("latin-1"))
        hosts, origins = said.get(b"host", []), said.get(b"origin", [])
        known = self._known
        if self._own_address and scope.get("server"):
            known = known | {"{}:{}".format(*scope["server"])}
        if len(hosts) != 1 or hosts[0].lower() not in known or len(origins) > 1:
            return False
        if not origins:
            return bool(scope["type"] != "websocket")
        return origins[0].lower() in {f"{self._scheme}://{host}" for host in known}


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


def command_of(line: str) -> tuple[str, str]:
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
