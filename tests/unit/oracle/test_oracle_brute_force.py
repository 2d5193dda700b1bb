"""The oracle with DuckDB and the oracle by brute force agree on random logs, to the bit."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import log, plain, scenario
from oracle.histograms import mark
from oracle.oracle import compute

EXAMPLES = 50  # thousands were run before this was written down
JUDGES = ["compare", "framing", "generate", "published", "replay", "verdict"]
PRODUCT = {"broker", "metric_registry", "streams", "topologies", "tidemill"}
VALUES = ["0.0", "-0.0", "1.5", "2.5", "0.1", "-3.25", "7i", "9007199254740993i", "1e100"]
VALUES += ["9007199254740992.0", "-1e100", "5e-324", "inf", "-inf", "nan", "none", "1.7e308"]
TIMES = st.integers(1, 120).map(lambda tenths: str(tenths / 2))
OVER_TIME = ["sum", "count", "min", "max", "avg", "last", "increase", "increase"]
OVER_SPACE = ["sum", "sum", "count", "min", "max", "avg", "last"]
SIZES = ["5s", "5s,20s", "10s", "10s,30s", "20s,1m"]


@st.composite
def points(draw: st.DrawFn) -> str:
    labels = draw(st.sampled_from(["{g=a}", "{g=b}", "{g=a,s=1}", "{s=1}", ""]))
    name = draw(st.sampled_from(["m", "m", "m", "n"]))
    time = draw(st.one_of(TIMES, TIMES, TIMES, st.just("-")))
    value = draw(st.sampled_from(VALUES))
    kind = draw(st.sampled_from(["gauge", "delta", "cumulative", "cumulative", "cumulative"]))
    if kind == "cumulative":
        start = draw(st.sampled_from(["-", "0", "1", "12", "21"]))
        return f"{name}{labels}@{time}={value}^{start}"
    return f"{name}{labels}@{time}{'+' if kind == 'delta' else ''}={value}"


@st.composite
def records(draw: st.DrawFn) -> str:
    place = draw(st.sampled_from(["raw/0", "raw/0", "raw/1", "history.x/0"]))
    received = draw(TIMES)
    word = draw(st.sampled_from(["at", "at", "at", "at", "at", "mark", "garbage"]))
    if word == "mark":
        control = draw(st.sampled_from(["idle", "marker"]))
        return f"{place} {control} {received}"
    if word == "garbage":
        return f"{place} at {received} garbage"
    host = draw(st.sampled_from(["", "[host=a] ", "[host=b,g=c] "]))
    return f"{place} at {received} {host}{' '.join(draw(st.lists(points(), max_size=6)))}"


@st.composite
def stories(draw: st.DrawFn) -> str:
    lines = [
        f"define d{i} over_time={draw(st.sampled_from(OVER_TIME))} "
        f"over_space={draw(st.sampled_from(OVER_SPACE))} metric=m "
        f"keep={draw(st.sampled_from(['', 'g', 'g,host', 's']))} "
        f"sizes={draw(st.sampled_from(SIZES))} grace={draw(st.sampled_from(['0s', '2s', '15s']))} "
        f"corrections={draw(st.sampled_from(['0s', '10s', '1d']))}"
        for i in range(2)
    ]
    lines += draw(st.lists(records(), max_size=25))
    for place in draw(st.lists(st.sampled_from(["raw/0", "raw/1", "history.x/0"]), unique=True)):
        lines.append(f"{place} {'end' if place.startswith('history') else 'idle 200'}")
    if draw(st.booleans()):
        lines += draw(st.lists(records(), max_size=5))
    return "\n".join(lines)


@given(stories())
@settings(max_examples=EXAMPLES, deadline=None)
def test_both_ways_of_computing_give_the_same_bits(story: str) -> None:
    told = scenario.loads(story)
    partitions = log.read(told.log)
    result = compute(partitions, told.definitions)
    first, latest = plain.compute(partitions, told.definitions)
    assert {
        (key, domain): (mark(cell.value), cell.points, cell.late)
        for key, cells in result.first.items()
        for domain, cell in cells.items()
    } == first
    assert {k: (mark(c.value), c.points, c.late) for k, c in result.latest.items()} == latest


def test_the_order_of_accepted_points_does_not_change_the_latest_values() -> None:
    lines = [f"raw/0 at 9 m@{t}={v}^0.5" for t, v in zip("12345678", "13296478", strict=True)]
    define = "define d over_time=increase over_space=sum metric=m sizes=2s,10s\n"
    answers = set()
    for shift in range(len(lines)):
        told = scenario.loads(define + "\n".join(lines[shift:] + lines[:shift]) + "\nraw/0 idle 10")
        latest = compute(log.read(told.log), told.definitions).latest
        answers.add(tuple(sorted((key, mark(cell.value)) for key, cell in latest.items())))
    assert len(answers) == 1


def test_the_oracle_imports_nothing_of_the_product() -> None:
    folder = Path(log.__file__).parent
    judges = [folder.parent / "demo" / f"{name}.py" for name in JUDGES]
    for path in [*folder.glob("*.py"), *judges]:
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]):
                root = words[1].split(".")[0]
                assert root not in {
                    "broker",
                    "metric_registry",
                    "streams",
                    "topologies",
                    "tidemill",
                }
