import itertools
import threading
import time

import pytest
from fault_server import Act, FaultServer, error
from hypothesis import given
from hypothesis import strategies as st

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer
from models_under_pressure.llm.config import Price
from models_under_pressure.llm.session import Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@given(st.floats(1, 10_000), st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 5)), min_size=1, max_size=60))
def test_no_window_ever_holds_more_than_the_rate_allows(per_minute, arrivals):
    clock = Clock()
    pace = Pace(per_minute, clock=clock)
    passed = []
    for gap, amount in arrivals:
        clock.now += gap
        clock.now += pace.pending()
        pace.take(amount)
        passed.append((clock.now, amount))
    for first, last in itertools.combinations(range(len(passed)), 2):
        seconds = passed[last][0] - passed[first][0]
        before_last = sum(amount for _, amount in passed[first:last])
        assert before_last <= (seconds + 0.5) * per_minute / 60 + 1e-6


def test_under_load_the_rate_is_used_to_the_full():
    clock = Clock()
    pace = Pace(600, clock=clock)
    for _ in range(601):
        clock.now += pace.pending()
        clock.now += 0.01  # late wake-ups, work between two requests
        pace.take()
    assert clock.now - 100 == pytest.approx(60, abs=0.3)


def test_a_correction_moves_the_next_unit():
    clock = Clock()
    pace = Pace(60, clock=clock)
    pace.take(10)
    pace.correct(-8)
    assert pace.pending() == pytest.approx(2)


def test_concurrency_is_used_to_the_full_and_never_exceeded(question, config, store):
    full = threading.Event()

    def plan(row, attempt):
        if server.peak >= 7:
            full.set()
        full.wait(timeout=50)
        return Act(delay=0.01)

    with FaultServer(plan) as server:
        ask_all([question(i) for i in range(80)], config=config(server, concurrency=7), store=store(), what="t")
        assert server.peak == 7


TRIES = 4
"""Other work on the machine delays arrivals: one try that reaches the limit and keeps it proves that ours does."""


def best_share_of(per_minute, attempt):
    """The highest share of the limit that a try reaches without more than one burst of half a second above it.

    `attempt(number)` gives the units that arrived after the first, and the seconds that they took.
    """
    best = 0.0
    for number in range(TRIES):
        units, seconds = attempt(number)
        if units <= per_minute / 60 * (seconds + 0.5) + 1:
            best = max(best, units / seconds * 60 / per_minute)
        if best >= 0.95:
            break
    return best


def test_the_configured_rate_is_reached_and_not_exceeded(question, config, store):
    def arrived(sample):
        with FaultServer(lambda row, attempt: error(500) if int(row) % 10 == 0 and attempt == 1 else Act()) as server:
            limited = config(server, requests_per_minute=900)
            ask_all([question(i, sample=sample) for i in range(50)], config=limited, store=store(), what="t")
            times = sorted(seen.at for seen in server.seen)
            assert len(times) == 55, "retries count too"
        return len(times) - 1, times[-1] - times[0]

    assert best_share_of(900, arrived) >= 0.95


def test_the_token_rate_counts_what_was_really_used(question, config, store):
    """Each reply uses 120 tokens, far fewer than the 100 + max_tokens set aside for the first ones."""

    def arrived(sample):
        with FaultServer(latency=0.1) as server:
            limited = config(server, tokens_per_minute=120_000)
            ask_all([question(i, sample=sample) for i in range(70)], config=limited, store=store(), what="t")
            times = sorted(seen.at for seen in server.seen)[20:]
        return 120 * (len(times) - 1), times[-1] - times[0]

    assert best_share_of(120_000, arrived) >= 0.95


def test_waiting_for_a_rate_limit_does_not_use_up_the_deadline(question, config, store):
    with FaultServer() as server:
        slow = config(server, requests_per_minute=180, deadline=2)
        outcomes = ask_all([question(i) for i in range(8)], config=slow, store=store(), what="t")
    assert all(isinstance(outcome, Answer) for outcome in outcomes)


def test_replays_wait_for_no_limit(question, config, store):
    asks = [question(i) for i in range(40)]
    with FaultServer() as server:
        ask_all(asks, config=config(server), store=store(), what="t")
        start = time.monotonic()
        ask_all(asks, config=config(server, requests_per_minute=1, tokens_per_minute=1), store=store(), what="t")
        assert time.monotonic() - start < 30


PRICES = {"gpt-4o": Price(input=0, output=1000)}
"""A reply costs 20 tokens x $0.001 = $0.02, and at most 100 x $0.001 = $0.10."""


def test_the_spend_cap_stops_cleanly_and_is_never_exceeded(question, config, store):
    asks = [question(i) for i in range(100)]
    with FaultServer(latency=0.01) as server:
        capped = config(server, prices=PRICES, max_tokens=100, max_cost_usd=0.5)
        with pytest.raises(
            UserError, match=r"max_cost_usd: \$0.4\d+ of \$0.5000 is spent\. 2[0-4] of 100 questions"
        ) as e:
            ask_all(asks, config=capped, store=store(), what="t")
        assert "cost nothing more" in str(e.value)
        assert 0.4 <= len(server.seen) * 0.02 <= 0.5
        asked = len(server.seen)
        rest = config(server, prices=PRICES, max_tokens=100, max_cost_usd=5)
        assert len(ask_all(asks, config=rest, store=store(), what="t")) == 100
        assert len(server.seen) == 100
        assert asked < 26


def test_a_cap_without_a_price_is_refused_before_anything_is_sent(question, config, store):
    with FaultServer() as server:
        with pytest.raises(UserError, match="prices has no entry for 'gpt-4o'"):
            ask_all([question(1)], config=config(server, prices={}, max_cost_usd=1), store=store(), what="t")
        assert not server.seen
