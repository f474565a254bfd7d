"""Waiting for something to become true: with a deadline, by asking again, never by a fixed sleep."""

import time

PATIENCE_S = 30


def eventually(what, condition, within_s=PATIENCE_S, pause_s=0.02):
    """Asks `condition` until it holds and returns what it said; fails naming `what` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s} s")
        time.sleep(pause_s)
