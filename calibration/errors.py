"""The one error every floor raises for something a person can mend."""


class WardposeError(Exception):
    """A failure a person can act on: what happened, where, and how to mend it.

    The command line prints it as one line and exits with `exit_code`; the terminal UI shows it in place.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "", exit_code: int = 2) -> None:
        self.what, self.where, self.mend, self.exit_code = what, where, mend, exit_code
        parts = [f"{where}: {what}" if where else what]
        if mend:
            parts.append(mend)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))
