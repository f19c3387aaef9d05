"""The limit on concurrent requests: first come, first served, never more at once, and no slot is ever lost."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tiering.cache.fetcher import AdaptiveLimit, Traffic


def serve(durations, cancelled=frozenset()):
    """Run requests that last these numbers of turns of the loop. Return their order, the most at once, and the limit."""

    async def run():
        traffic = Traffic()
        limit, began, most = AdaptiveLimit(traffic), [], [0]

        async def request(number, turns):
            async with limit:
                began.append(number)
                most[0] = max(most[0], traffic.in_flight)
                for _ in range(turns):
                    await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(request(number, turns)) for number, turns in enumerate(durations)]
        for _ in range(5):
            await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert traffic.in_flight == 0
        return began, most[0], traffic.limit

    return asyncio.run(run())


def test_requests_begin_in_the_order_in_which_they_were_asked_for():
    # Sixteen at a time end in the same turn of the loop, as the answers of a fast server do.
    began, most, _ = serve([3] * 200)
    assert began == list(range(200))
    assert most <= 16


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=150).flatmap(
        lambda turns: st.tuples(st.just(turns), st.sets(st.integers(0, len(turns) - 1), max_size=20))
    )
)
def test_no_request_overtakes_another_and_no_slot_is_lost(case):
    durations, cancelled = case
    began, most, limit = serve(durations, cancelled)
    assert began == sorted(began)
    assert set(range(len(durations))) - set(began) <= cancelled
    assert most <= limit
