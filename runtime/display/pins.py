"""PINs of those who resume at the bedside page, in a file that the site's owner alone can read.

What stands there are salted hashes (scrypt); a PIN is short, so what keeps it is that wrong ones are answered slowly.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from calibration.atomic import write_text
from calibration.errors import WardposeError
from calibration.json_text import parse_json

_PIN = re.compile(r"[0-9]{4,12}")
_COST = {"n": 1 << 14, "r": 8, "p": 1, "dklen": 32}  # about 50 ms and 16 MB a guess


class Pins:
    """The PINs in the file `path`, by whose they are. It need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def any(self) -> bool:
        """Whether anybody has one. A file that can't be understood counts as one that nobody's PIN opens."""
        return self.path.exists() and self._read() != {}

    @property
    def names(self) -> set[str]:
        """Who has one."""
        return set(self._read() or {})

    def whose(self, pin: str) -> str:
        """Whose PIN this is; empty for nobody's."""
        found = ""
        if _PIN.fullmatch(pin):
            for name, (salt, kept) in (self._read() or {}).items():
                if hmac.compare_digest(_hash(pin, salt), kept):
                    found = name
        return found

    def keep(self, name: str, pin: str) -> None:
        """Give `name` this PIN in place of any before. Raises `WardposeError` for one that is too easy or taken."""
        if not _PIN.fullmatch(pin) or len(set(pin)) < 3 or pin in "01234567890123" or pin in "98765432109876":
            raise WardposeError("this PIN is too easy", mend="choose 4 to 12 digits, not all alike and not in a row")
        if self.whose(pin) not in ("", name):
            raise WardposeError("this PIN can't be taken", mend="choose another")
        salt = secrets.token_hex(16)
        self._write((self._read() or {}) | {name: (salt, _hash(pin, salt))})

    def forget(self, name: str) -> None:
        """Delete the PIN of `name`, if there is one."""
        known = self._read() or {}
        if known.pop(name, None) is not None:
            self._write(known)

    def _read(self) -> dict[str, tuple[str, str]] | None:
        """None where the file can't be understood."""
        try:
            values = parse_json(self.path.read_text(encoding="utf-8"))
            return {str(name): (str(salt), str(kept)) for name, (salt, kept) in values.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def _write(self, known: Mapping[str, tuple[str, str]]) -> None:
        write_text(self.path, json.dumps(known, indent=1, ensure_ascii=False) + "\n")


def _hash(pin: str, salt: str) -> str:
    return hashlib.scrypt(pin.encode(), salt=salt.encode(), **_COST).hex()
