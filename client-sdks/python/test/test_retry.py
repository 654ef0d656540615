"""What is tried again, when: with a clock and dice of the test's own."""

from __future__ import annotations

import pytest

from lunasec import Conflict, Overloaded, RateLimited, Retry, SidecarUnreachable, StorageUnavailable
from lunasec._retry import Budget, Patience, Reachability, Retries
from lunasec._runtime import Runtime

AWAY = StorageUnavailable("away", retryable=True)


class Clock:
    at = 0.0

    def patience(self, random: float = 1.0, **retry: float) -> Patience:
        runtime = Runtime(now=lambda: self.at, random=lambda: random)
        return Patience(runtime, Retry(**retry), 16, start=10, restart=2)  # type: ignore[arg-type]


def test_pauses_are_full_jitter_that_doubles_up_to_a_bound() -> None:
    for random, expected in ((1.0, [0.05, 0.1, 0.2, 0.25]), (0.0, [0.0] * 4), (0.5, [0.025, 0.05, 0.1, 0.125])):
        retries = Retries(Clock().patience(random, pause_most=0.25), attempts=9, repeatable=True)
        assert [retries.after(AWAY) for _ in range(4)] == expected


def test_what_the_sidecar_asks_for_comes_on_top() -> None:
    error = RateLimited("slow", retryable=True, retry_after=3.0)
    assert Retries(Clock().patience(0.5), 3, True).after(error) == 3.025
    assert Retries(Clock().patience(), 3, True).after(RateLimited("slow", retryable=True)) is None


def test_a_budget_is_shared_and_ten_successes_save_up_one() -> None:
    budget = Budget(1)
    assert (budget.take(), budget.take()) == (True, False)
    for _ in range(9):
        budget.succeeded()
    assert budget.take() is False
    budget.succeeded()
    assert budget.take() is True


def test_connections_that_break_have_a_budget_of_their_own() -> None:
    patience = Clock().patience(budget=0)
    broken = SidecarUnreachable("broke", sent=True)
    assert Retries(patience, 3, True).after(AWAY) is None
    assert Retries(patience, 1, True).after(broken) is not None
    assert Retries(patience, 3, False).after(broken) is None


def test_what_may_have_been_done_is_not_tried_again_unless_that_changes_nothing() -> None:
    assert Retries(Clock().patience(), 3, False).after(AWAY) is None
    assert Retries(Clock().patience(), 3, False).after(Overloaded("no", retryable=True)) is not None
    assert Retries(Clock().patience(), 3, True).after(Conflict("no")) is None


def test_a_socket_that_nobody_answers_is_waited_for_at_first_longer_than_later() -> None:
    clock = Clock()
    patience = clock.patience()
    nobody = SidecarUnreachable("nobody")
    retries = Retries(patience, 1, True)
    clock.at = 100
    assert retries.after(nobody) is not None
    clock.at = 109.99
    assert retries.after(nobody) == pytest.approx(0.01)
    clock.at = 110
    assert retries.after(nobody) is None
    patience.reachability.reached()
    clock.at = 200
    assert Retries(patience, 1, True).after(nobody) is not None
    clock.at = 202
    assert Retries(patience, 1, True).after(nobody) is None
    assert Retries(patience, 1, True).after(SidecarUnreachable("mode", retryable=False)) is None


def test_reachability_counts_from_the_first_miss() -> None:
    reachability = Reachability(10, 2)
    assert reachability.missed(5) == 10
    assert reachability.missed(8) == 7
    reachability.reached()
    assert reachability.missed(9) == 2
