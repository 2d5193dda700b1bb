"""Whatever the bytes are, the checker answers with findings and goes on."""

from __future__ import annotations

import os
import random

from tests.unit.otlp_check.good_streams import NAMES, good
from topologies.otlp_check import RULES, Checker

MUTATIONS = int(os.environ.get("TIDEMILL_CHECK_MUTATIONS", "6000"))


def test_mutated_requests_raise_nothing_and_good_ones_are_still_read():
    rng = random.Random(7)
    bodies = [body for name in NAMES for body in good(name).bodies()]
    checker = Checker(max_streams=200)
    codes: set[str] = set()
    for _ in range(MUTATIONS):
        body = bytearray(rng.choice(bodies))
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            at = rng.randrange(len(body))
            match rng.randrange(3):
                case 0:
                    body[at] = rng.randrange(256)
                case 1:
                    body[at] ^= 1 << rng.randrange(8)
                case _:
                    del body[at : at + rng.choice([1, 9])]
        codes.update(found.code for found in checker.feed(bytes(body)))
    assert codes <= set(RULES)
    assert len(codes) > len(RULES) // 2
    assert checker.counts.requests == MUTATIONS
    story = good("counter/delta")
    story.metric(0).name = "afterwards"
    assert checker.feed(story.bodies()[0]) == []
