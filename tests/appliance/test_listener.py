"""Following a bus: messages arrive, a server may come late, and a note that fails is not the last."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from appliance.live.listener import Listener
from calibration.errors import WardposeError
from runtime.bus import ResultServer


def test_a_server_that_comes_late_is_heard_and_a_full_disk_does_not_end_the_listening(tmp_path: Path) -> None:
    heard: list[int] = []
    first, second = threading.Event(), threading.Event()

    def note(message: dict[str, Any]) -> None:
        heard.append(message["number"])
        (first if message["number"] == 1 else second).set()
        if message["number"] == 1:
            raise WardposeError("no space left on the disk")

    listener = Listener(tmp_path / "x.sock", note)
    listener.start()
    with ResultServer(tmp_path / "x.sock") as server:
        server.publish({"number": 1})
        assert first.wait(20)
        server.publish({"number": 2})
        assert second.wait(20)
        listener.stop()
    assert heard == [1, 2]
