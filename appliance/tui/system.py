"""System: what this box has and lacks, where its state lies, who did what."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import DataTable, Static

from appliance.box import doctor, machine
from appliance.live.engines import engine_words
from appliance.site import audit
from appliance.tui.dialogs import Choose, Reading
from appliance.tui.ink import BAD, FAINT, GOOD, WARN
from appliance.tui.page import Page
from appliance.tui.settings_screen import SettingsScreen
from appliance.tui.widgets import NO_ALARM, Action, Fact, Facts, audit_lines, fill
from calibration.progress import Progress
from calibration.redaction import redacted

LICENCE = "AGPL-3.0-or-later"


@dataclass(frozen=True, slots=True)
class Seen:
    facts: tuple[Fact, ...]
    audit: tuple[audit.AuditRow, ...]


class SystemPage(Page):
    TAB = "system"
    ABOUT = "What the doctor finds, how to mend it, the settings, the logs, and the processes of the live path."
    ACTIONS: ClassVar[tuple[Action, ...]] = (
        Action("examine", "Examine again", "examine", "primary"),
        Action("settings", "Settings", "settings"),
        Action("log", "Logs", "log"),
        Action("stop", "Stop the service", "stop", "error"),
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._report: doctor.Report | None = None

    def contents(self) -> ComposeResult:
        yield Facts(id="facts")
        yield self.actions()
        with Horizontal(classes="columns"):
            with Vertical(classes="column"):
                yield Static("Doctor", classes="title")
                yield Static(id="doctor")
            with Vertical(classes="column"):
                yield Static("Processes of the live path", classes="title", id="processes-title")
                table: DataTable[Any] = DataTable(id="processes", cursor_type="none")
                table.can_focus = False
                table.add_columns("process", "state", "restarts", "says")
                yield table
                yield Static("Starts, restarts and outages of the last day", classes="title", id="outages-title")
                yield Static(id="outages")
                yield Static("Audit trail, the newest first", classes="title")
                yield Static(id="audit")

    def gather(self, status: Mapping[str, Any]) -> Seen:
        if self._report is None:
            self._report = doctor.examine(self.site)
        disk = shutil.disk_usage(self.site.root)
        service = f"process {status['pid']}" if status else "does not answer"
        facts = (
            Fact("Site folder", str(self.site.root)),
            Fact(
                "Disk",
                f"{disk.free / 1e9:.1f} of {disk.total / 1e9:.0f} GB free",
                "good" if disk.free > 2e9 else "warn",
            ),
            *_machine(),
            *_engine(status),
            Fact("Engines", engine_words(self.site)),
            Fact("Service", service, "good" if status else "bad"),
            *_run_by(status),
            Fact("Versions", _versions()),
            Fact("Licence", f"{LICENCE}. {NO_ALARM}"),
        )
        return Seen(facts, tuple(audit.rows(self.site, 30)))

    def show(self, data: Seen) -> None:
        self.query_one(Facts).show(data.facts)
        assert self._report is not None
        text = Text()
        for check in sorted(self._report.checks, key=lambda check: (check.ok, check.optional)):
            sign, colour = ("●", GOOD) if check.ok else ("○", WARN) if check.optional else ("■", BAD)
            text.append(f"{sign} ", colour).append(check.name, "bold").append(f"  {check.detail}\n", FAINT)
            if not check.ok and check.mend:
                text.append(f"  → {check.mend}\n", WARN)
        text.rstrip()
        self.query_one("#doctor", Static).update(text)
        processes = self.status.get("processes") or []
        rows = [(p["name"], (p["name"], p["state"], _restarts(p), p["status"] or p["last_end"])) for p in processes]
        fill(self.query_one("#processes", DataTable), rows)
        self.query_one("#processes", DataTable).display = bool(rows)
        self.query_one("#processes-title", Static).display = bool(rows)
        recent = (self.status.get("outages") or {}).get("recent") or []
        self.query_one("#outages", Static).update(Text("\n".join(event["words"] for event in recent)))
        for part in ("#outages", "#outages-title"):
            self.query_one(part, Static).display = bool(recent)
        self.query_one("#audit", Static).update(audit_lines(data.audit, "nothing yet"))

    def refuse(self, data: Seen) -> dict[str, str]:
        return {"stop": "" if self.status else "it does not answer"}

    def do_examine(self) -> None:
        def examine(_: Progress) -> None:
            self._report = doctor.examine(self.site)

        self.work("examining this box", examine)

    def do_settings(self) -> None:
        self.app.push_screen(SettingsScreen(self))

    def do_log(self) -> None:
        logs = sorted(self.site.logs.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)[:9]
        choices = [(path.name, f"{path.name}, {path.stat().st_size / 1e3:.0f} kB") for path in logs]
        if not choices:
            self.say("there is no log yet", "warn")
            return
        self.app.push_screen(Choose("Which log?", choices), lambda name: self._read(name) if name else None)

    def _read(self, name: str) -> None:
        text = (self.site.logs / name).read_text(errors="replace")[-20_000:]
        self.app.push_screen(Reading(name, redacted(text) or "it is empty"))

    def do_stop(self) -> None:
        self.ask(
            "Stop the service? The live path ends with it and running jobs are interrupted; they can be resumed. "
            "This terminal is closed as well, because an open one starts the service again.",
            "Stop it and leave",
            lambda: self.call("stopping the service", "stop", lambda _: self.app.exit(0)),
        )


def _run_by(status: Mapping[str, Any]) -> tuple[Fact, ...]:
    """Who runs the live path, and how it went so far."""
    owner, told = (status.get("live") or {}).get("owner"), status.get("outages")
    run = (Fact("Live path", owner["words"], "good"),) if owner else ()
    return (*run, Fact("So far", told["words"])) if told else run


def _machine() -> tuple[Fact, ...]:
    """Temperatures, GPU, units; what the machine does not tell is said too."""
    warm = [f"{name} {celsius:.0f} °C" for name, celsius in machine.warmth()]
    gpus = [gpu.words for gpu in machine.gpus()]
    words, mark = machine.unit_words(machine.units())
    return (
        Fact("Warmth", ", ".join(warm) or "this machine tells no temperature", "" if warm else "off"),
        Fact("GPU", "; ".join(gpus) or "none: the processor does all the work", "good" if gpus else "off"),
        Fact("Units", words, mark, "journalctl -u wardpose-NAME says why" if mark == "bad" else ""),
    )


def _engine(status: Mapping[str, Any]) -> tuple[Fact, ...]:
    engine = (status.get("live") or {}).get("engine")
    return (Fact("Engine", f"{engine} finds the people now", "good"),) if engine else ()


def _restarts(process: Mapping[str, Any]) -> str:
    return "unknown" if process["restarts"] is None else str(process["restarts"])


def _versions() -> str:
    said = []
    for name in ("wardpose", "torch", "onnxruntime", "onnxruntime-gpu", "ultralytics", "numpy", "textual"):
        try:
            said.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*said, f"Python {platform.python_version()}"])
