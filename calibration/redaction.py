"""The one place that knows what in the name of a camera is secret, and hides it.

A camera on a network is named by an address that carries how to log in: `rtsp://user:password@host/path`, or, as many
recorders want it, `…/user=admin&password=x&channel=1` and `…?token=x`. People write passwords as they are, with `/`,
`#`, `[`, `:` and `@` in them, so an address is read for its last `@` that can stand before a host, not for its first.
Where that leaves a doubt, more is hidden rather than less.

Every `WardposeError`, audit row and line of a command goes through `redacted`, and so does a source wherever it is
named; `calibration.errors` uses it, hence it stands on the lowest floor.
"""

from __future__ import annotations

import re
from urllib.parse import quote

HIDDEN = "***"

# A source begins here, or an address within a sentence.
_START = re.compile(
    r"(?:(?<![\w.+-])video:)?(?<![\w.+-])[a-z][a-z0-9+.-]*:/{2,}|(?<![\w.+-])video:(?:rtsps?:/*)?(?![/.~])",
    re.IGNORECASE,
)
_WHOLE = re.compile(r"\s*(?:[a-z][\w.+-]*:)+//|\s*video:", re.IGNORECASE)
_END = re.compile(r"[\s\"'<>]")
# A host that nobody would have for a name or a password.
_CERTAIN = r"(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[[0-9A-Fa-f:.%]+\])(?=(?::\d{1,5})?(?:[/?#]|$))"
_CERTAIN_HOST, _AT_CERTAIN_HOST = re.compile(_CERTAIN, re.IGNORECASE), re.compile(f"@(?={_CERTAIN})", re.IGNORECASE)
# `user` as well: on many cameras name and password are the same word.
_SECRET_WORD = re.compile(r"pass|pwd|psw|token|secret|auth|cred|key|signature|user|usr|login", re.IGNORECASE)
_SECRET_SHORT = frozenset({"pw", "u", "p", "sig", "account"})
_LONGEST_KEY = 64
# A secret may hold `&` and `=` itself: it ends only where a key begins that cameras, or our own options, have.
_NEXT_KEY = re.compile(
    r"[&;_,/?#](?=(?:user|username|usr|password|passwd|pass|pwd|channel|channelid|ch|chan|stream|streamtype|subtype|"
    r"type|profile|resolution|res|size|width|height|fps|rate|bitrate|quality|codec|transport|proto|unicast|multicast|"
    r"track|trackid|camera|cam|audio|video|starttime|endtime|loop|realtime|photos_per_s|allow_network)=)",
    re.IGNORECASE,
)
_HIDDEN_ALREADY = re.compile(r"\*\*\*(?=:?\s|[&;]|$)")
# Outside of addresses, where a program quotes its own words.
_LOOSE = re.compile(
    r"(?<![A-Za-z0-9])(?:password|passwd|pwd|passphrase|token)=(?P<value>[^\s&\"']+)"
    r"|\bauthorization:[ \t]*(?P<header>[^\r\n]+)",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """`text` with every name, password and token in an address replaced by `***`.

    text: a source's spec, an address, or a sentence that quotes some. A text that begins with an address is taken for
    one as a whole, so that blanks in a password do no harm. Redacting twice changes nothing.
    """
    return _without(text, _spans(text))


def secrets_in(spec: str) -> tuple[str, ...]:
    """What `redacted` hides of a source's spec, in its order; empty where nothing is secret."""
    found = tuple(spec[start:end] for start, end in _spans(spec))
    return () if all(piece == HIDDEN for piece in found) else found


def restored(spec: str, secrets: tuple[str, ...]) -> str:
    """The inverse: `spec` with each `***` replaced by the secret that stood there.

    Raises ValueError where their numbers differ.
    """
    pieces = spec.split(HIDDEN)
    if len(pieces) != len(secrets) + 1:
        raise ValueError(f"{len(pieces) - 1} places for {len(secrets)} secrets")
    return "".join(piece + secret for piece, secret in zip(pieces, (*secrets, ""), strict=True))


def split_address(address: str) -> tuple[str, str, str]:
    """`rtsp://user:pass/word@host:554/path` → (`rtsp://`, `user:pass/word`, `host:554/path`); all three as written."""
    start = re.match(r"[a-z][a-z0-9+.-]*:/*", address, re.IGNORECASE)
    begin = start.end() if start else 0
    end = _end_of_login(address[begin:])
    if end is None:
        return address[:begin], "", address[begin:]
    return address[:begin], address[begin : begin + end], address[begin + end + 1 :]


def encoded_address(address: str) -> str:
    """The address as a program reads it that goes by RFC 3986: what is special in the log-in is percent-encoded.

    What a person has encoded already (`%2F`) stays as it is.
    """
    scheme, login, rest = split_address(address)
    if not login:
        return address
    parts = (re.sub(r"%25([0-9A-Fa-f]{2})", r"%\1", quote(part, safe="")) for part in login.split(":", 1))
    return f"{scheme}{':'.join(parts)}@{rest}"


def host_of(address: str) -> str:
    """The host in an address, without port and brackets; empty where it names none."""
    _, _, rest = split_address(address)
    if bracketed := re.match(r"\[([^\]/?#]*)\]", rest):
        return bracketed[1]
    return re.split(r"[:/?#]", rest, maxsplit=1)[0]


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in reversed(spans):
        text = text[:start] + HIDDEN + text[end:]
    return text


def _spans(text: str) -> list[tuple[int, int]]:
    """Where the secrets stand, in order, none touching another."""
    found: list[tuple[int, int]] = []
    whole, place = _WHOLE.match(text), 0
    while start := _START.search(text, place):
        found += _loose_spans(text, place, start.start())
        stop = None if whole else _END.search(text, start.end())
        place = stop.start() if stop else len(text)
        found += _spans_of_address(text, start.end(), place)
    found += _loose_spans(text, place, len(text))
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in found if span[0] < span[1]):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _loose_spans(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    return [hit.span("value" if hit["value"] else "header") for hit in _LOOSE.finditer(text, begin, end)]


def _spans_of_address(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    rest, found = text[begin:end], []
    login = _end_of_login(rest)
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    query = 0
    if login is not None:
        found.append((begin, begin + login))
        # Were the log-in shorter than taken, its end would lie within the authority: look for keys from there on.
        query = authority.rfind("@") + 1 if "@" in authority else login + 1
    while (value := _secret_value(rest, query)) is not None:
        if _HIDDEN_ALREADY.match(rest, value):  # a sentence goes on behind what an error has quoted
            query = value + len(HIDDEN)
        else:
            stop = _NEXT_KEY.search(rest, value)
            query = stop.start() if stop else len(rest)
        found.append((begin + value, begin + query))
    return found


def _secret_value(text: str, begin: int) -> int | None:
    """Where the value of the next key that says it is secret begins; None where there is none. Linear in the text."""
    sign = text.find("=", begin)
    while sign >= 0:
        key = ""
        if sign > begin and text[sign - 1].isalnum():
            key = re.split(r"[^\w.%-]", text[max(begin, sign - _LONGEST_KEY) : sign])[-1]
        if _SECRET_WORD.search(key) or re.split("[_.%-]", key)[-1].lower() in _SECRET_SHORT:
            return sign + 1
        sign = text.find("=", sign + 1)
    return None


def _end_of_login(rest: str) -> int | None:
    """Where in `user:password@host/path` the log-in ends, that is the place of its `@`; None where there is none."""
    last = rest.rfind("@")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if last < 0 or ("@" not in authority and _CERTAIN_HOST.match(rest)):
        return None
    if rest.startswith(f"{HIDDEN}@"):
        return len(HIDDEN)
    if "@" in authority or not re.fullmatch(r"[^:]*(?::\d{0,5})?", authority):
        certain = _AT_CERTAIN_HOST.search(rest)
        return certain.start() if certain else last
    # `host:554/user=a&password=b@c`: the `@` belongs to a password behind the host.
    if (value := _secret_value(rest, len(authority))) is not None and value <= last:
        return None
    if ":" not in rest[:last]:
        return None
    certain = _AT_CERTAIN_HOST.search(rest)
    return certain.start() if certain else last
