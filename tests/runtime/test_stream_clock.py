"""A network picture's age counts from the stream's clock: what comes late is old, whatever moment it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.capture.stream_clock import BEHIND_S, LATE_S, StreamClock

FPS = 25


def ages(delays_s: list[float], offset_s: float = 1000.0, rate: float = 1.0) -> list[float]:
    """The ages that a clock tells of pictures taken `1 / FPS` apart that arrive so much later each.

    offset_s: between the two clocks. rate: of the stream's clock against this machine's.
    """
    clock, told, arrived_s = StreamClock(), [], 0.0
    for index, delay_s in enumerate(delays_s):
        taken_s = index / FPS
        arrived_s = max(arrived_s, taken_s + delay_s)
        told.append(arrived_s - clock.captured_at(rate * taken_s + offset_s, arrived_s))
    return told


@given(st.floats(-1e6, 1e6), st.floats(1.5, 60.0), st.floats(0.0, 0.3))
def test_a_stall_makes_what_follows_as_old_as_it_lasted(offset_s: float, stall_s: float, delay_s: float) -> None:
    told = ages([delay_s] * 50 + [delay_s + stall_s] * 50, offset_s)
    assert max(told[:50]) == pytest.approx(0.0, abs=1e-3)
    assert min(told[50:]) > LATE_S
    assert told[50] == pytest.approx(stall_s, abs=0.05)


@given(st.lists(st.floats(0.0, 0.4), min_size=2, max_size=200))
def test_jitter_is_no_stall(delays_s: list[float]) -> None:
    told = ages(delays_s)
    assert all(0.0 <= age <= 0.4 + 1e-6 for age in told)


def test_pictures_that_were_kept_show_their_age_once_the_newest_has_come() -> None:
    # Five seconds of pictures arrive at once, the oldest first; then the stream goes on as it is taken.
    told = ages([5.0 - index / FPS for index in range(125)] + [0.0] * 50)
    assert max(told[125:]) == pytest.approx(0.0, abs=1e-3)


def test_a_camera_that_catches_up_is_live_again() -> None:
    told = ages([0.1] * 50 + [3.0] * 10 + [0.1] * 150)
    assert told[55] > LATE_S and told[-1] < 0.1


@pytest.mark.parametrize("parts_per_million", [-200, 200])
def test_a_quartz_that_is_off_makes_no_picture_old_in_a_day(parts_per_million: int) -> None:
    clock = StreamClock()
    for second in range(86_400):
        age = second - clock.captured_at(second * (1 + parts_per_million * 1e-6), second)
        assert age < 0.1


def test_a_stream_without_a_clock_counts_from_arrival() -> None:
    clock = StreamClock()
    assert [clock.captured_at(0.0, moment) for moment in (5.0, 6.0, 60.0)] == [5.0, 6.0, 60.0]


def test_a_clock_that_stands_still_lets_the_picture_grow_old() -> None:
    clock = StreamClock()
    for index in range(10):
        clock.captured_at(index / FPS, index / FPS)
    assert clock.captured_at(9 / FPS, 9 / FPS + 4.0) == pytest.approx(9 / FPS, abs=0.01)


def test_a_stream_that_stays_behind_is_hopeless_one_that_recovers_is_not() -> None:
    clock = StreamClock()
    for index in range(50):
        clock.captured_at(index / FPS, index / FPS)
    moment = 50 / FPS
    while moment < 50 / FPS + BEHIND_S + 0.1:
        clock.captured_at(moment, moment + 3.0)
        moment += 1 / FPS
    assert clock.hopeless
    clock.captured_at(moment, moment)
    assert not clock.hopeless


def test_a_stream_whose_times_begin_anew_is_not_taken_for_live_for_ever() -> None:
    clock = StreamClock()
    for index in range(250):
        clock.captured_at(100 + index / FPS, index / FPS)
    late = [10 + index / FPS - clock.captured_at(index / FPS, 10 + index / FPS) for index in range(int(FPS * 6))]
    assert min(late) > LATE_S and clock.hopeless
