"""The one error every floor raises for something a person can mend."""

from calibration.redaction import redacted


class WardposeError(Exception):
    """A failure a person can act on: what happened, where, and how to mend it; no camera's password stands in it.

    The command line prints it as one line and exits with `exit_code`; the terminal UI shows it in place.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "", exit_code: int = 2) -> None:
        self.what, self.where, self.mend = redacted(what), redacted(where), redacted(mend)
        self.exit_code = exit_code
        parts = [f"{self.where}: {self.what}" if where else self.what]
        if mend:
            parts.append(self.mend)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))
