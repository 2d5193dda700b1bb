"""`tidemill topology`."""

from __future__ import annotations

from cyclopts import App

from streams.topology.nodes import RecordProcessor
from streams.topology.plan import Style
from streams.topology.stores import stores_of
from tidemill.commands.deployment import SettingsFile
from tidemill.commands.output import Output, emit
from tidemill.commands.topology_diff import PRODUCT, diff, plan_of, show_manifest

app = App(
    name="topology",
    help="Topologies, the product's and your own: what they run, and what they keep.",
    help_epilogue="Example: tidemill topology graph, or: tidemill topology graph my_topology.py",
    help_format="plaintext",
)
app.command(
    show_manifest,
    name="manifest",
    help_epilogue="Example: tidemill topology manifest shops.py > shops.json",
)
app.command(diff, help_epilogue="Example: tidemill topology diff shops.json shops.py")


@app.command(help_epilogue="Example: tidemill topology graph my_topology.py --style mermaid")
def graph(where: str = PRODUCT, /, *, style: Style = "text", settings: SettingsFile = None) -> int:
    """Draw a topology: topics, the tasks that read them, and the operators fused in each.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon (shops.py:hours).
        By default the product's own.
    style:
        A tree for the terminal, a Mermaid flow chart, or Graphviz' dot.
    """
    print(plan_of(where, settings).graph(style))
    return 0


@app.command(help_epilogue="Example: tidemill topology describe examples.word_count")
def describe(where: str = PRODUCT, /, *, settings: SettingsFile = None) -> int:
    """Say what a topology runs, operator by operator, as Kafka Streams' `Topology.describe()`.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon. By default the
        product's own.
    """
    print(plan_of(where, settings).describe())
    return 0


@app.command(help_epilogue="Example: tidemill topology stores examples.shop_hours -o json")
def stores(
    where: str = PRODUCT, /, *, output: Output = "table", settings: SettingsFile = None
) -> int:
    """The stores of a topology: what a running worker can be asked for at GET /stores/NAME, and
    what processors keep for themselves (kind `own`).

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon. By default the
        product's own.
    """
    plan = plan_of(where, settings)
    rows = [
        {
            "store": shape.name,
            "kind": shape.kind,
            "keys": ", ".join(f"{name}: {kind}" for name, kind in shape.keys.items()),
            "values": ", ".join(f"{name}: {kind}" for name, kind in shape.values.items()),
        }
        for shape in stores_of(plan).values()
    ]
    rows += [
        {"store": f"{node.name}/{name}", "kind": "own", "keys": "", "values": meaning}
        for node in plan.nodes
        if isinstance(node, RecordProcessor)
        for name, meaning in node.stores.items()
    ]
    emit(rows, ("store", "kind", "keys", "values"), output)
    return 0
