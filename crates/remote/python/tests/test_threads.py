"""The pool of threads, by itself."""

from __future__ import annotations

import threading

import pytest

from runloom_executor import current
from runloom_executor.current import CurrentRun
from runloom_executor.threads import Broken, TrackingPool


def spin(started: threading.Event) -> None:
    started.set()
    while True:
        pass


def test_threads_are_counted_for_their_run_and_broken_with_it() -> None:
    pool = TrackingPool(4)
    mine, other = CurrentRun(1, "mine"), CurrentRun(2, "other")
    started, release = threading.Event(), threading.Event()
    current.run.set(mine)
    spinning = pool.submit(spin, started)
    current.run.set(other)
    waiting = pool.submit(release.wait)
    current.run.set(None)
    started.wait(10)
    assert (pool.working_for(mine), pool.leaked(), pool.oldest_leak()) == (1, 0, 0.0)
    mine.close()
    assert pool.leaked() == 1 and pool.oldest_leak() > 0.0
    pool.break_those_of(mine)
    with pytest.raises(Broken):
        spinning.result(10)
    assert (pool.working_for(mine), pool.leaked()) == (0, 0)
    release.set()
    assert waiting.result(10) is True
    # The thread that was broken takes new work.
    assert [pool.submit(lambda: 1).result(10) for _ in range(8)] == [1] * 8
    pool.shutdown()


def test_breaking_never_hits_the_next_work_of_a_thread() -> None:
    pool = TrackingPool(1)
    broken = 0
    for number in range(300):
        owner = CurrentRun(number, str(number))
        current.run.set(owner)
        started = threading.Event()
        work = pool.submit(started.set)
        started.wait(10)
        pool.break_those_of(owner)
        current.run.set(None)
        assert pool.submit(lambda: "unharmed").result(10) == "unharmed"
        broken += isinstance(work.exception(10), Broken)
        assert pool.busy() == 0
    pool.shutdown()


def test_results_and_errors_pass_through() -> None:
    pool = TrackingPool(2)
    assert pool.submit(pow, 2, 3).result(10) == 8
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(10)
    pool.shutdown()
