"""Limits so great that a tenant's groups are spread over several virtual shards.

Each shard keeps its own part, so this needs more groups than stories have: about ten thousand, of
which the two partitions have some in common, and some come late.
"""

import random

from tests.simulation.comparison import check
from tests.simulation.stories import SETTLED

LIMIT = 8192
GROUPS = 9700
"""About 4,850 in each of two shards, which keep 4,480."""
OF_THE_FIRST = 9300
"""Groups of the first partition, which leaves some out itself."""
A_RECORD = 1000


def points(groups: list[int], time: str, values: random.Random) -> list[str]:
    return [
        f"load{{g={group}}}@{time}+={values.choice(['1i', '0.1', '1e100'])}" for group in groups
    ]


def log(seed: int) -> str:
    """Groups of two tenants over two partitions; then some of both that are late."""
    rng = random.Random(seed)
    groups = list(range(GROUPS))
    rng.shuffle(groups)
    lines = [
        "topic raw 2",
        f"define m over_time=sum over_space=sum metric=load keep=g sizes=10s limit={LIMIT} "
        "corrections=1m late=carry expire=1",
    ]
    late, rest = groups[:60], groups[60:]
    both = rest[:300]
    for place, mine in (("raw/0", rest[:OF_THE_FIRST]), ("raw/1", [*both, *rest[OF_THE_FIRST:]])):
        for at in range(0, len(mine), A_RECORD):
            told = points(mine[at : at + A_RECORD], "5", rng)
            lines.append(f"{place} at 5 {' '.join(told)}")
    lines.append(f"raw/1 at 6 tenant=other {' '.join(points(groups[:9], '6', rng))}")
    lines += ["raw/0 idle 12", "raw/1 idle 12"]
    lines.append(f"raw/0 at 13 {' '.join(points([*late, *both[:3]], '7', rng))}")
    lines += [f"raw/{place} idle {time}" for time in (17, 23, 33) for place in (0, 1)]
    return "\n".join([*lines, *SETTLED])


def test_a_limit_of_several_shards_keeps_what_the_oracle_says() -> None:
    text = log(1)
    assert check(text, random.Random(1), settles=True) > 2 * LIMIT
