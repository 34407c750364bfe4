"""How a camera's password gets to the process that opens it, without standing in a name, a setting or a command line.

Everywhere a source is named it is named as `calibration.redaction.redacted` writes it, `video:rtsp://***@host/path`.
What the `***` stand for lies in a file of the site that its owner alone can read. `runtime.capture.source` puts it back
when it makes the source; whoever runs it says with `use_file` where the file is.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from calibration.atomic import disk_error, write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json
from calibration.redaction import HIDDEN, redacted, restored, secrets_in, split_address

_lock = threading.Lock()
_files: list[Path] = []  # the newest last

_Known = dict[str, list[str]]  # what is hidden in a source, by its redacted spec


def use_file(path: Path) -> None:
    """Look for passwords in the file at `path` from now on, before any named earlier. It need not exist."""
    with _lock:
        if path in _files:
            _files.remove(path)
        _files.append(path)


def keep(path: Path, spec: str) -> str:
    """Keep what is secret in `spec` in the file at `path`, and return the spec without it.

    Raises `WardposeError` where the file can't be written.
    """
    named, hidden = redacted(spec), secrets_in(spec)
    if hidden:
        with _locked(path):
            known = _read(path)
            if known.get(named) != list(hidden):
                # Put last: what was given last for a camera is what counts.
                known.pop(named, None)
                write_text(path, json.dumps(known | {named: list(hidden)}, indent=1, ensure_ascii=False) + "\n")
    return named


def kept(path: Path) -> list[str]:
    """The cameras, named without their secrets, of which the file holds some."""
    return list(_read(path))


def forget(path: Path, named: str) -> bool:
    """Drop what the file holds of one camera; False where it holds nothing of it."""
    if not path.exists():
        return False
    with _locked(path):
        known = _read(path)
        if known.pop(named, None) is None:
            return False
        write_text(path, json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    return True


def filled(spec: str) -> str:
    """`spec` with its secrets put back, from the files named by `use_file`; one that hides nothing stays as it is.

    A camera's other streams have the same log-in: where the very spec is not known, another of that host is taken.
    Raises `WardposeError` where the secrets of that camera are not known.
    """
    if not re.search(r"\*\*\*@|=\*\*\*", spec):
        return spec
    count = spec.count(HIDDEN)
    with _lock:
        files = _files[::-1]
    for path in files:
        known = _read(path)
        of_host = [hidden for named, hidden in known.items() if _place(named) == _place(spec)]
        for hidden in (known.get(spec), *reversed(of_host)):
            if hidden is not None and len(hidden) == count:
                return restored(spec, tuple(hidden))
    raise WardposeError(
        "the password of this camera is not known on this site",
        where=spec,
        mend="name the camera once with its password in place of the ***",
    )


def _place(spec: str) -> str:
    """Kind, scheme, host and port of a source: to whom its password belongs."""
    kind, colon, address = spec.partition(":") if re.match(r"[a-z]+:[a-z]+:", spec) else ("", "", spec)
    scheme, _, rest = split_address(address)
    return f"{kind}{colon}{scheme}{re.split('[/?#]', rest, maxsplit=1)[0]}".lower()


def _read(path: Path) -> _Known:
    try:
        known = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise disk_error(error, path) from error
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(
        isinstance(hidden, list) and all(isinstance(piece, str) for piece in hidden) for hidden in known.values()
    ):
        raise WardposeError(
            "the file of passwords is damaged", where=str(path), mend="remove it, then choose the camera anew"
        )
    return known


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, of any process."""
    try:
        descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise disk_error(error, path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
