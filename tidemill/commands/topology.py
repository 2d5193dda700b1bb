"""`tidemill topology`."""

from __future__ import annotations

from cyclopts import App

from streams.topology.plan import Plan, Style
from streams.topology.stores import stores_of
from tidemill.commands.errors import FAILED, CommandError
from tidemill.commands.output import Output, emit
from tidemill.commands.topology_diff import diff, show_manifest
from tidemill.topology_file import NoTopology, load

app = App(
    name="topology",
    help="Topologies of your own: what they run, and what they keep.",
    help_epilogue="Example: tidemill topology graph examples.shop_hours",
    help_format="plaintext",
)
app.command(
    show_manifest,
    name="manifest",
    help_epilogue="Example: tidemill topology manifest shops.py > shops.json",
)
app.command(diff, help_epilogue="Example: tidemill topology diff shops.json shops.py")


@app.command(help_epilogue="Example: tidemill topology graph my_topology.py --style mermaid")
def graph(where: str, /, *, style: Style = "text") -> int:
    """Draw a topology: topics, the tasks that read them, and the operators fused in each.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon (shops.py:hours).
    style:
        A tree for the terminal, a Mermaid flow chart, or Graphviz' dot.
    """
    print(_plan(where).graph(style))
    return 0


@app.command(help_epilogue="Example: tidemill topology describe examples.word_count")
def describe(where: str, /) -> int:
    """Say what a topology runs, operator by operator, as Kafka Streams' `Topology.describe()`.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon.
    """
    print(_plan(where).describe())
    return 0


@app.command(help_epilogue="Example: tidemill topology stores examples.shop_hours -o json")
def stores(where: str, /, *, output: Output = "table") -> int:
    """The stores that a running worker of a topology can be asked for: GET /stores/NAME.

    Parameters
    ----------
    where:
        A file.py or a module; `topology` in it, or what is named behind a colon.
    """
    rows = [
        {
            "store": shape.name,
            "kind": shape.kind,
            "keys": ", ".join(f"{name}: {kind}" for name, kind in shape.keys.items()),
            "values": ", ".join(f"{name}: {kind}" for name, kind in shape.values.items()),
        }
        for shape in stores_of(_plan(where)).values()
    ]
    emit(rows, ("store", "kind", "keys", "values"), output)
    return 0


def _plan(where: str) -> Plan:
    try:
        return load(where)
    except NoTopology as error:
        raise CommandError(str(error), FAILED) from None
