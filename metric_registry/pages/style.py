"""What pages look like, and the script that filters their index."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1b1f24;--soft:#57606a;
--line:#d0d7de;--box:#f6f8fa;--link:#0550ae}
@media (prefers-color-scheme:dark){
:root{--back:#0d1117;--text:#e6edf3;--soft:#9da7b1;--line:#30363d;--box:#161b22;--link:#6cb6ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--text);font:16px/1.5 system-ui,sans-serif}
main,nav{max-width:64rem;margin:0 auto;padding:0 1rem}
nav{padding-top:1rem}
main{padding-bottom:4rem}
a{color:var(--link)}
h1{font-size:1.6rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}
code,pre{font:.9em/1.5 ui-monospace,monospace;background:var(--box);border-radius:4px}
code{padding:.1em .3em;overflow-wrap:anywhere}
pre{padding:.8rem;overflow-x:auto}
pre code{padding:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.95em}
th,td{text-align:left;vertical-align:top;padding:.35rem .6rem;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}
.soft{color:var(--soft)}
.flow{list-style:none;margin:0;padding:0}
.flow>li{position:relative;border:1px solid var(--line);border-radius:6px;background:var(--box);
padding:.5rem .8rem;margin-bottom:1.5rem}
.flow>li:not(:last-child)::after{content:"\\2193";position:absolute;left:1rem;bottom:-1.5rem;
color:var(--soft)}
.flow strong{display:block;font-size:.85em;color:var(--soft)}
input{font:inherit;width:100%;padding:.5rem;border:1px solid var(--line);border-radius:6px;
background:var(--back);color:var(--text)}
[hidden]{display:none}
"""

SCRIPT = """
(function () {
  "use strict";
  var box = document.getElementById("search");
  var shown = document.getElementById("shown");
  var rows = Array.prototype.slice.call(document.querySelectorAll("#definitions tbody tr"));
  var texts = rows.map(function (row) { return row.textContent.toLowerCase(); });
  function filter() {
    var words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
    var count = 0;
    rows.forEach(function (row, at) {
      var fits = words.every(function (word) { return texts[at].indexOf(word) >= 0; });
      row.hidden = !fits;
      count += fits ? 1 : 0;
    });
    shown.textContent = words.length ? count + " of " + rows.length : "";
  }
  box.addEventListener("input", filter);
  box.parentNode.hidden = false;
  filter();
})();
"""
