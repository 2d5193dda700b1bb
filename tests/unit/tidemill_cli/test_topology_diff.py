"""`tidemill topology manifest` and `diff`."""

import json

from tidemill.main import main

SHOP = """
from streams.schema import Schema, i64, string
from streams.topology import agg
from streams.topology.builder import StreamsBuilder
from streams.codecs import Json


def topology(version={version}, total={total}):
    builder = StreamsBuilder("shop", version=version)
    sales = builder.stream("sales", Json(Schema(shop=string, amount=i64)), partitions=2)
    by_shop = sales.group_by("shop")
    by_shop.aggregate(name="sold", {total}).to("sold")
    {more}
    return builder.build()
"""
MORE = 'by_shop.aggregate(name="best", best=agg.max("amount")).to("best")'


def written(folder, name, version, total="sold=agg.count()", more="pass"):
    file = folder / f"{name}.py"
    text = SHOP.replace("{version}", str(version)).replace(", total={total}", "")
    file.write_text(text.replace("{total}", total).replace("{more}", more))
    return str(file)


def test_a_saved_manifest_is_held_against_the_next_version(tmp_path, capsys):
    assert main(["topology", "manifest", written(tmp_path, "old", 1)]) == 0
    saved = tmp_path / "shop.json"
    saved.write_text(capsys.readouterr().out)
    new = written(tmp_path, "new", 2, more=MORE)
    assert main(["topology", "diff", str(saved), new, "-o", "json"]) == 0
    said = {row["name"]: row["outcome"] for row in json.loads(capsys.readouterr().out)}
    assert said == {
        "best": "begins anew",
        "sold": "continues",
        "source-sales": "continues",
        "to-best": "begins anew",
        "to-sold": "continues",
    }


def test_what_would_be_refused_fails_the_command_and_says_why(tmp_path, capsys):
    old = written(tmp_path, "one", 1)
    new = written(tmp_path, "two", 1, total='sold=agg.sum("amount")')
    assert main(["topology", "diff", old, new]) == 1
    said = capsys.readouterr().out
    assert "refused" in said
    assert "another name" in said
    assert "version=2" in said


def test_a_manifest_that_is_none_and_another_topology_are_errors(tmp_path, capsys):
    shop = written(tmp_path, "shop1", 1)
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    assert main(["topology", "diff", str(empty), shop]) == 1
    assert "format" in capsys.readouterr().err
    other = tmp_path / "other1.py"
    other.write_text(
        (tmp_path / "shop1.py").read_text().replace('"shop", version', '"inn", version')
    )
    assert main(["topology", "diff", shop, str(other)]) == 1
    assert "two topologies" in capsys.readouterr().err
