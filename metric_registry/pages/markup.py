"""HTML in which what people wrote is text: only `Markup` is markup, and all else is escaped.

Pages are self-contained: their style and script are inside, and a policy lets no other in.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from metric_registry.pages.style import SCRIPT, STYLE

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""What HTML has no place for, and halves of characters that UTF-8 cannot write."""
_WORD = re.compile(r"[^a-z0-9]+")
_VOID = frozenset(("meta", "input", "br"))
_INDEX = "index.html"


class Markup(str):
    """Text that is HTML."""

    __slots__ = ()


Child = str | Iterable["Child"]


def escaped(text: str) -> Markup:
    """Text as HTML, also within quotes of either kind."""
    return Markup(html.escape(_CONTROL.sub("\ufffd", text), quote=True))


def el(tag: str, *children: Child, **attributes: str) -> Markup:
    """An element. `class_` is the attribute `class`."""
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
    )
    if tag in _VOID:
        return Markup(f"<{tag}{named}>")
    return Markup(f"<{tag}{named}>{joined(children)}</{tag}>")


def joined(children: Child) -> Markup:
    """Children behind one another."""
    if isinstance(children, Markup):
        return children
    if isinstance(children, str):
        return escaped(children)
    return Markup("".join(joined(child) for child in children))


def code(text: str) -> Markup:
    """A name, or something to type."""
    return el("code", text)


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]]) -> Markup:
    """A table with a line of names above."""
    top = el("thead", el("tr", [el("th", cell, scope="col") for cell in head]))
    body = el("tbody", [el("tr", [el("td", cell) for cell in row]) for row in rows])
    return el("div", el("table", top, body), class_="wide")


def section(title: str, *children: Child, id: str = "") -> Markup:  # noqa: A002  (HTML's word)
    """A part of a page, with its heading."""
    anchor = {"id": id} if id else {}
    return el("section", el("h2", title), *children, **anchor)


def path_of(kind: str, name: str) -> str:
    """The path of a page in its folder: safe on every file system, another one for another name.

    Names that differ in case alone, or in what is no letter, have another digest.
    """
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
    words = _WORD.sub("-", name.lower()).strip("-")[:60].rstrip("-")
    return f"{kind}/{words}-{digest}.html" if words else f"{kind}/{digest}.html"


def link(text: Child, target: str, origin: str) -> Markup:
    """A link from one page to another, both by their paths in the folder of all pages."""
    up = "../" * (len(PurePosixPath(origin).parts) - 1)
    return el("a", text, href=f"{up}{target}")


def page(path: str, title: str, *body: Child) -> str:
    """A whole page, at that path in the folder of all pages."""
    policy = "; ".join(
        [
            "default-src 'none'",
            f"style-src '{_hash(STYLE)}'",
            f"script-src '{_hash(SCRIPT)}'",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    home = el("nav", link("All metrics", _INDEX, path), aria_label="Catalogue")
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        el("style", Markup(STYLE)),
    )
    script = el("script", Markup(SCRIPT)) if path == _INDEX else ""
    content = el("body", "" if path == _INDEX else home, el("main", *body), script)
    return f"<!DOCTYPE html>\n{el('html', head, content, lang='en')}\n"


def _hash(inline: str) -> str:
    """How a policy names what is inline (CSP level 3, 2.3.1)."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
