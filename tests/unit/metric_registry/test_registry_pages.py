"""The catalogue of definitions: well-formed, linked, escaped, self-contained, always the same."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from metric_registry.check import check, check_files
from metric_registry.load import SourceFile
from metric_registry.pages.catalogue import Catalogue, Live, LiveSize, catalogue
from metric_registry.pages.markup import el, path_of
from metric_registry.pages.site import site

STARTER = Path(__file__).resolve().parents[3] / "metric_registry" / "definitions"
VOID = {"meta", "input", "br"}
HOSTILE = "</td><script>alert('1')</script>\" onload=\"x & ]]> <!-- `\\' \u202e é \U0001f600"
PRINTABLE = HOSTILE.replace("\u202e ", "")
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "nav", "main", "a", "h1", "h2", "h3", "p"),
    *("table", "thead", "tbody", "tr", "th", "td", "div", "section", "ul", "ol", "li", "code"),
    *("pre", "strong", "label", "input", "span", "details", "summary", "script"),
}


class Page(HTMLParser):
    """A page by Python's own parser, which guesses nothing: every end has its beginning."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.policy = ""
        self.inline: dict[str, list[str]] = {"style": [], "script": []}
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, tag
        self.attributes += [(tag, name, value) for name, value in attrs]
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"] or "")
        if "id" in given:
            self.ids.append(given["id"] or "")
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"] or ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in self.inline:
            self.inline[self.open[-1]].append(data)
        else:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def definition(name: str, **sections: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "apiVersion": "tidemill/v1",
        "kind": "Metric",
        "name": name,
        "description": f"What {name} means",
        "owner": "team-a",
        "source": {"metric": "requests", "unit": "s"},
        "space": {"keep": ["route"]},
        "time": {"granularities": ["10s", "1h"]},
        "aggregate": {"over_time": "increase"},
    }
    return {**made, **sections}


def files_of(definitions: Sequence[dict[str, Any]]) -> list[SourceFile]:
    texts = [json.dumps(one, ensure_ascii=False).encode() for one in definitions]
    return [SourceFile(f"defs/{at % 3}/d{at}.yaml", text) for at, text in enumerate(texts)]


def known(*definitions: dict[str, Any], live: Live | None = None) -> Catalogue:
    files = files_of(definitions)
    report = check_files(files)
    assert not report.errors, report.text()
    return catalogue(report.entries, live=live)


def of_one(**sections: Any) -> str:
    """The page of one definition."""
    pages = site(known(definition("served", **sections)))
    (page,) = (content for path, content in pages.items() if path.startswith("definitions/"))
    return page.decode()


@pytest.fixture(scope="module")
def starter() -> dict[str, bytes]:
    report = check([STARTER])
    return site(catalogue(report.entries))


def many(number: int) -> list[dict[str, Any]]:
    rng = random.Random(number)
    return [
        definition(
            f"team.m{at}",
            owner=f"team-{rng.randrange(20)}",
            source={"metric": f"source.{rng.randrange(number)}", "unit": "s"},
        )
        for at in range(number)
    ]


def checked(pages: dict[str, bytes]) -> dict[str, Page]:
    return {path: Page(content.decode()) for path, content in pages.items()}


def test_every_page_is_well_formed(starter: dict[str, bytes]) -> None:
    assert len(starter) > 50
    for path, page in checked(starter).items():
        assert len(page.ids) == len(set(page.ids)), path
        assert starter[path].startswith(b'<!DOCTYPE html>\n<html lang="en">'), path


def test_every_link_leads_to_a_page_and_every_page_is_linked(starter: dict[str, bytes]) -> None:
    reached: set[str] = set()
    for path, page in checked(starter).items():
        for target in page.links:
            there = (Path("/") / path).parent / target
            found = str(there.parent.joinpath(there.name)).replace("/definitions/../", "/")
            found = re.sub(r"/(sources|owners)/\.\./", "/", found).removeprefix("/")
            assert found in starter, (path, target)
            reached.add(found)
    assert reached == set(starter)


def test_pages_need_no_network(starter: dict[str, bytes]) -> None:
    for path, page in checked(starter).items():
        for tag, name, value in page.attributes:
            assert name not in ("src", "srcset", "style", "action"), (path, tag, name)
            assert not name.startswith("on"), (path, tag, name)
            assert not re.match(r"[a-z]+:|//", value or "") or tag == "meta", (path, value)
        assert "url(" not in "".join(page.inline["style"])
        assert "@import" not in "".join(page.inline["style"])


def test_the_policy_lets_in_what_is_inside_and_nothing_else(starter: dict[str, bytes]) -> None:
    for path, page in checked(starter).items():
        rules = dict(each.split(" ", 1) for each in page.policy.split("; "))
        assert rules["default-src"] == "'none'", path
        for kind in ("style", "script"):
            digest = base64.b64encode(
                hashlib.sha256("".join(page.inline[kind]).encode()).digest()
            ).decode()
            if page.inline[kind]:
                assert rules[f"{kind}-src"] == f"'sha256-{digest}'", (path, kind)
    assert checked(starter)["index.html"].inline["script"]


def test_the_same_definitions_give_the_same_bytes() -> None:
    definitions = many(40)
    first = site(known(*definitions))
    files = files_of(definitions)
    random.Random(7).shuffle(files)
    again = site(catalogue(tuple(reversed(check_files(files).entries))))
    assert first == again
    assert list(first) == sorted(first)


def hostile() -> Catalogue:
    return known(
        definition(
            "served",
            description=HOSTILE,
            owner=HOSTILE,
            source={
                "any_of": [{"metric": PRINTABLE}, {"match": f"{PRINTABLE}*"}],
                "where": {"<b>attribute</b>": HOSTILE},
                "attributes": {
                    "made&": {"from": "<i>x</i>", "map": {"<u>": "</pre>"}, "default": "<hr>"}
                },
                "unit": "{<script>}",
            },
            space={"keep": ["made&", "<img src=x>", "it's"]},
        )
    )


def test_what_people_wrote_is_text() -> None:
    pages = checked(site(hostile()))
    (page,) = (each for path, each in pages.items() if path.startswith("definitions/"))
    assert HOSTILE in page.text
    assert "<img src=x>" in page.text
    assert "labels['<img src=x>']" in page.text
    assert not page.inline["script"], "there is none but the index's own"
    for path, each in pages.items():
        assert re.fullmatch(r"(definitions|sources|owners)/[a-z0-9.-]+\.html|index\.html", path)
        assert not any(name.startswith("on") for _, name, _ in each.attributes)


def test_what_people_wrote_stays_inside_attributes() -> None:
    page = Page(el("a", "x", href=HOSTILE, title='it\'s "so"'))
    assert page.attributes == [("a", "href", HOSTILE), ("a", "title", 'it\'s "so"')]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../../etc/passwd", "con", "a/b", "A", "é" * 300, "\ud800", "x" * 5000, "%2e"],
)
def test_a_path_is_safe_and_of_one_name(name: str) -> None:
    path = path_of("owners", name)
    assert re.fullmatch(r"owners/([a-z0-9-]+-)?[0-9a-f]{10}\.html", path)
    assert len(path) < 100
    assert path != path_of("owners", name + " ")


def test_names_that_differ_in_case_have_pages_of_their_own() -> None:
    paths = {path_of("owners", name).lower() for name in ("Team", "team", "TEAM", "te.am")}
    assert len(paths) == 4


def test_text_that_html_has_no_place_for_is_replaced() -> None:
    assert el("p", "a\x00b\ud800c\nd") == "<p>a\ufffdb\ufffdc\nd</p>"


def test_a_page_says_what_the_number_means() -> None:
    text = Page(
        of_one(time={"granularities": ["10s", "1h"], "grace": "7s", "corrections": "2h"})
    ).text
    assert "what a stream's counter added in the window" in text
    assert "A group is what has the same tenant and the same route." in text
    assert "passed its end by 7s" in text
    assert "up to 2h later makes a new revision" in text


def test_every_field_has_its_line() -> None:
    page = Page(of_one())
    for field in ("source.metric", "space.keep", "time.granularities", "aggregate.over_time"):
        assert f"{field}" in page.text
    assert "defs/0/d0.yaml:1" in page.text
    assert "by default" in page.text


def test_the_way_goes_from_source_to_table() -> None:
    text = Page(
        of_one(
            source={"metric": "requests", "unit": "ms", "where": {"type": ["a", "b"]}},
            unit="s",
            publish={"upsert": True, "keep": {"10s": "3d", "1h": "9d"}},
        )
    ).text
    steps = ["requests", "type is a or b", "ms to s", "route and tenant", "10s, 1h",
             "metrics and rollups", "tidemill.`served`, 10s for 3d, 1h for 9d"]  # fmt: skip
    at = [text.index(step, text.index("From source to table")) for step in steps]
    assert at == sorted(at)


def linked(pages: dict[str, bytes], start: str, text: str) -> bool:
    (page,) = (each for path, each in checked(pages).items() if path.startswith(start))
    return text in page.text


def test_a_source_names_those_that_read_it_also_by_a_pattern() -> None:
    pages = site(
        known(
            definition("a"),
            definition("b", source={"match": "req*", "unit": "s"}),
            definition("c", source={"metric": "other", "unit": "s"}),
        )
    )
    (page,) = (
        each for path, each in checked(pages).items() if path.startswith("sources/requests-")
    )
    assert "What a means" in page.text
    assert "What b means" in page.text
    assert "What c means" not in page.text


def test_definitions_of_the_same_source_are_related() -> None:
    pages = site(known(definition("a"), definition("b"), definition("c", source={
        "metric": "other", "unit": "s"})))  # fmt: skip
    assert linked(pages, "definitions/a-", "What b means")
    assert not linked(pages, "definitions/a-", "What c means")
    assert linked(pages, "definitions/c-", "No other definition reads its source")


def test_live_figures_are_shown_where_there_are_some_and_else_not_a_word() -> None:
    assert "Now" not in Page(of_one()).text
    live = Live(
        "2027-01-15T08:00:00Z", {"served": [LiveSize("10s", "2027-01-15T07:59:50Z", 12, 3, 9)]}
    )
    pages = site(known(definition("served"), definition("silent"), live=live))
    for said in ("2027-01-15T07:59:50Z", "12", "3s", "9s"):
        assert linked(pages, "definitions/served-", said)
    assert linked(pages, "definitions/silent-", "held no rows of this version")
    assert not linked(pages, "definitions/served-", "onsumer group")
    live = replace(live, readers={"metrics": ["billing", "<b>"], "rollups": []})
    pages = site(known(definition("served"), definition("silent"), live=live))
    for said in ("Consumer groups that read the topic metrics", "billing", "<b>"):
        assert linked(pages, "definitions/served-", said)
    assert not linked(pages, "definitions/served-", "rollups,")


def test_a_thousand_definitions_have_a_page_each() -> None:
    pages = site(known(*many(1_000)))
    assert sum(path.startswith("definitions/") for path in pages) == 1_000
    index = Page(pages["index.html"].decode())
    assert len([target for target in index.links if target.startswith("definitions/")]) >= 1_000


def test_nothing_says_when_or_where_it_was_made(starter: dict[str, bytes]) -> None:
    def years(pages: Iterable[bytes]) -> set[str]:
        return set(re.findall(r"\b20[2-9][0-9]-[0-9]{2}-[0-9]{2}\b", b"".join(pages).decode()))

    assert years(starter.values()) == set()
