"""A plan is drawn in three styles, and the command finds it in a file or a module."""

import re
from pathlib import Path

import pytest

from examples import shop_hours, word_count
from streams.topology.describe import described
from tidemill.main import main
from tidemill.topology_file import NoTopology, load

ROOT = Path(__file__).resolve().parents[3]


def test_a_tree_shows_topics_tasks_operators_and_stores():
    assert word_count.topology().graph("text").splitlines() == [
        "word-count",
        "",
        "word-count-lines (2 tasks)",
        "  (lines)",
        "  └─ source-lines",
        "     └─ map_batches-1",
        "        └─ (word-count-aggregate-word-repartition)",
        "",
        "word-count-aggregate-word (2 tasks)",
        "  (word-count-aggregate-word-repartition)",
        "  └─ aggregate-word [store]",
        "     └─ (counts)",
    ]


def test_every_topic_and_operator_of_a_plan_is_in_each_style():
    plan = shop_hours.topology()
    names = set(re.findall(r"(?:Source|Processor): (\S+)", described(plan))) - {
        "join-shops-input",  # the internal topic's end: drawn as the topic
    }
    for drawing in (plan.graph("text"), plan.graph("mermaid"), plan.graph("dot")):
        for name in (*names, "orders", "shops", "shop-hours", *plan.internal_topics()):
            assert name in drawing, (name, drawing)


def test_every_arrow_leads_from_and_to_something_that_is_drawn():
    plan = shop_hours.topology()
    for drawing, arrow in ((plan.graph("mermaid"), "-->"), (plan.graph("dot"), "->")):
        arrows = re.findall(rf"^  (\w+) {arrow} (\w+)$", drawing, re.M)
        drawn = set(re.findall(r"^ +(\w+)\s?[\[(]", drawing, re.M))
        assert {end for each in arrows for end in each} <= drawn
        assert len(arrows) == 10


def test_the_command_draws_a_module_a_file_and_what_is_named_in_it(capsys, tmp_path):
    assert main(["topology", "graph", "examples.word_count"]) == 0
    by_module = capsys.readouterr().out
    file = tmp_path / "drawn_words.py"
    text = (ROOT / "examples" / "word_count.py").read_text()
    file.write_text(text.replace("def topology()", "def counted()"))
    assert main(["topology", "graph", f"{file}:counted"]) == 0
    assert capsys.readouterr().out == by_module
    assert main(["topology", "graph", str(file)]) == 1
    assert f"{file} has no `topology`" in capsys.readouterr().err
    assert main(["topology", "stores", "examples.word_count"]) == 0
    assert "aggregate-word  totals" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def topology(): return 1", "gives int: let it return `builder.build()`"),
        ("def topology(: pass", "SyntaxError"),
        ("topology = lambda: 1 / 0", "ZeroDivisionError: division by zero"),
        (
            "from streams.topology.builder import StreamsBuilder\ntopology = StreamsBuilder('a')",
            "topology 'a' writes nothing",
        ),
    ],
)
def test_what_is_no_topology_says_why(text, said, tmp_path):
    file = tmp_path / f"no_topology_{abs(hash(text))}.py"
    file.write_text(text)
    with pytest.raises(NoTopology, match=re.escape(said)):
        load(str(file))
