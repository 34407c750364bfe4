"""Privacy: what is stored and for how long, who looked and why, and the pause."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Static

from appliance.bedside import plates
from appliance.box import kept
from appliance.live import pauses, station
from appliance.site import audit
from appliance.tui.dialogs import Blank, Choose, Form
from appliance.tui.page import Page
from appliance.tui.widgets import Action, Fact, Facts, age, audit_lines, selected, when
from calibration.atomic import write_text

LOOKS = (
    "camera.",
    "plate.",
    "live.",
    "audit.",
    "station.",
)  # what deeds about pixels, and about who may see, begin with
SHOWN = 40


@dataclass(frozen=True, slots=True)
class Seen:
    kept: tuple[kept.Found, ...]
    strays: tuple[str, ...]
    swap: bool
    looks: tuple[audit.AuditRow, ...]
    chain: audit.Verdict
    paused: str
    station: tuple[str, ...]  # where the ward's station may look; none where that is off


class PrivacyPage(Page):
    TAB = "privacy"
    LIST = "#kept"
    ABOUT = (
        "What of pixels is stored on this box, how long, who agreed and how it is deleted; who looked, and why. "
        "<pause> pauses all looking at once, from every screen, and every screen says so. "
        "The audit trail grows and is chained, so that a row that was changed or taken out shows."
    )
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("examine", "Check the audit trail", "examine", "primary"),
        Action("write", "Write the audit trail", "write"),
        Action("remove", "Delete a plate", "delete", "error"),
    )

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        yield self.actions()
        with Horizontal(classes="columns"):
            with Vertical(classes="column"):
                yield Static("What is stored", classes="title")
                table: DataTable[Any] = DataTable(id="kept", cursor_type="row")
                table.add_columns("files", "size", "newest", "what")
                yield table
                yield Static(id="about", classes="hint")
            with Vertical(classes="column"):
                yield Static("Who looked, and why", classes="title")
                yield Static(id="looks")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        found = tuple(row for row in kept.found(self.site) if row.row.from_pixels)
        looks = tuple(row for row in audit.rows(self.site, 400) if row.what.startswith(LOOKS))[:SHOWN]
        held = pauses.switch(self.site).state()
        return Seen(
            found, tuple(kept.strays(self.site)), kept.swaps(), looks, audit.verify(self.site),
            held.words() if held else "", tuple(station.told(self.site)["addresses"]),
        )  # fmt: skip

    def show(self, data: Seen) -> None:
        pause = self.keys.shown("pause")
        whole = data.chain.whole
        facts = [
            Fact("Looking", data.paused, "warn", f"{pause} asks, and lifts the pause")
            if data.paused
            else Fact("Looking", f"not paused; {pause} pauses it at once", "good"),
            Fact(
                "Audit trail", f"{data.chain.rows} rows, {'the chain is whole' if whole else 'THE CHAIN IS BROKEN'}",
                "good" if whole else "bad", "" if whole else "wardpose audit says where",
            ),
            Fact("Outside", f"the ward's station may look, by PIN: {', '.join(data.station)}", "warn",
                 "wardpose station off ends it")
            if data.station
            else Fact("Outside", "the ward station's view is off", "good"),
            Fact("Swap", "memory may be written to it" if data.swap else "none on this box",
                 "warn" if data.swap else "good", "swapoff -a, or encrypt it" if data.swap else ""),
        ]  # fmt: skip
        facts += [
            Fact("Unexplained", stray, "bad", "no row explains this file; look at it") for stray in data.strays[:3]
        ]
        self.query_one(Facts).show(facts)
        rows = [(str(i), _cells(row)) for i, row in enumerate(data.kept)]
        self.fill(rows)
        self._show_about()
        self.query_one("#looks", Static).update(audit_lines(data.looks, "none yet"))

    def refuse(self, data: Seen) -> dict[str, str]:
        return {"remove": "" if plates.rows(self.site) else "there is no plate"}

    def on_data_table_row_highlighted(self) -> None:
        self._show_about()

    def _show_about(self) -> None:
        key = selected(self._list())
        if self._data is None or not key:
            return
        row = self._data.kept[int(key)].row
        text = f"{row.what}: {row.where}; kept {row.how_long}. Agreed: {row.who_agreed}. Deleted: {row.how_deleted}."
        self.query_one("#about", Static).update(Text(text.replace("`", "")))

    def do_examine(self) -> None:
        def tell(found: audit.Verdict) -> None:
            if found.whole:
                self.say(f"{found.rows} rows, each holds the one before it", "good")
            else:
                self.say(f"broken at {len(found.breaks)} places; wardpose audit says where", "bad")

        self.work("checking the audit trail", lambda _: audit.verify(self.site), tell)

    def do_write(self) -> None:
        where = Blank("file", "File, a JSON object a line", "~/wardpose-audit.jsonl", place=True)
        form = Form(
            "Write the whole audit trail into a file. It names people: keep it as you keep the box.", [where], "Write"
        )
        self.app.push_screen(form, lambda given: self._write(given["file"]) if given else None)

    def _write(self, file: str) -> None:
        path = Path(file)

        def write(_: Any) -> int:
            rows = audit.rows(self.site, None)
            write_text(path, "".join(json.dumps(row.to_dict(), ensure_ascii=False) + "\n" for row in rows))
            return len(rows)

        self.work("writing the audit trail", write, lambda rows: self.say(f"{path}: {rows} rows", "good"))

    def do_remove(self) -> None:
        names = [(row.name, f"{row.name}, taken {age(row.captured_at)}") for row in plates.rows(self.site)]

        def remove(name: str) -> None:
            self.ask(
                f"Delete the plate {name}? It can't be brought back.", "Delete it",
                lambda: self.call(f"deleting {name}", "plates.remove", name=name, reason=self.here),
            )  # fmt: skip

        self.app.push_screen(Choose("Delete which plate?", names), lambda name: remove(name) if name else None)


def _cells(found: kept.Found) -> list[str | Text]:
    if not found.row.patterns:
        return ["–", "–", "–", found.row.what.replace("`", "")[:60]]
    size = f"{found.bytes / 1e6:.1f} MB" if found.files else ""
    newest = when(found.newest) if found.newest else ""
    return [str(found.files), size, newest, found.row.what.replace("`", "").split(":")[0][:60]]
