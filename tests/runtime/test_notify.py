"""Signs of life from a thread go on while there is something to wait for, and no longer."""

from __future__ import annotations

import threading

from runtime.notify import beating


def test_signs_of_life_go_on_while_the_block_runs_and_none_is_given_afterwards() -> None:
    given, enough = [0], threading.Event()

    def beat() -> bool:
        given[0] += 1
        if given[0] == 3:
            enough.set()
        return True

    with beating(beat, 0.001):
        assert enough.wait(60)
    before = given[0]
    assert not [thread for thread in threading.enumerate() if thread.name == "heartbeat"] and given[0] == before


def test_signs_of_life_end_when_there_is_nothing_more_to_say() -> None:
    given, ended = [0], threading.Event()

    def beat() -> bool:
        given[0] += 1
        if given[0] == 2:
            ended.set()
        return given[0] < 2

    with beating(beat, 0.001):
        assert ended.wait(60)
        for thread in threading.enumerate():
            if thread.name == "heartbeat":
                thread.join(60)
        assert given[0] == 2
