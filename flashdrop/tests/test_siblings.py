"""What web processes of one host know of each other, over a real fork."""

from __future__ import annotations

import os

from flashdrop.siblings import Siblings, sum_of

SHOWN = sum_of(["a", "b"])


def in_a_child(work: object) -> None:
    pid = os.fork()
    if pid == 0:
        work()  # type: ignore[operator]
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_alone_nobody_is_behind() -> None:
    assert Siblings(1).behind(SHOWN) == 0


def test_the_sum_is_of_what_is_shown_in_whatever_order() -> None:
    assert sum_of(["b", "a"]) == SHOWN != sum_of(["a"])


def test_one_that_has_not_told_shows_something_else_or_is_not_ready_is_behind() -> None:
    two = Siblings(2)
    two.take(0)
    two.write(SHOWN, True)
    assert two.behind(SHOWN) == 1

    def tell(shown: int, is_ready: bool) -> None:
        two.take(1)
        two.write(shown, is_ready)

    in_a_child(lambda: tell(sum_of(["a"]), True))
    assert two.behind(SHOWN) == 1
    in_a_child(lambda: tell(SHOWN, False))
    assert two.behind(SHOWN) == 1
    in_a_child(lambda: tell(SHOWN, True))
    assert two.behind(SHOWN) == 0
    in_a_child(lambda: two.take(1))  # a new process in its place
    assert two.behind(SHOWN) == 1


def test_one_that_is_silent_is_behind(monkeypatch: object) -> None:
    two = Siblings(2)
    in_a_child(lambda: (two.take(1), two.write(SHOWN, True)))
    two.take(0)
    assert two.behind(SHOWN) == 0
    from flashdrop import siblings

    monkeypatch.setattr(siblings, "SILENT_SECONDS", -1.0)  # type: ignore[attr-defined]
    assert two.behind(SHOWN) == 1
