"""From files to documents, with what is wrong with them before anybody asks what they mean."""

from __future__ import annotations

from metric_registry.errors import Finding
from metric_registry.fields import Problem
from metric_registry.inherit import Written
from metric_registry.load import SourceFile
from metric_registry.rules.subject import Settings
from metric_registry.syntax import Document, parse
from metric_registry.syntax.nodes import Mapping, Node


class Sources:
    """The lines of files, for findings to show."""

    def __init__(self) -> None:
        self._data: dict[str, bytes] = {}
        self._lines: dict[str, list[str]] = {}

    def add(self, file: SourceFile) -> None:
        self._data[file.path] = file.data

    def line(self, file: str, number: int) -> str:
        """A line of a file, counted from 1; empty if there is none."""
        if file not in self._lines:
            text = self._data.get(file, b"").decode("utf-8-sig", "replace")
            self._lines[file] = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        lines = self._lines[file]
        return lines[number - 1] if 0 < number <= len(lines) else ""

    def finding(self, problem: Problem, file: str, node: Node, way: str = "") -> Finding:
        """What is wrong, at a node of a file."""
        return Finding(
            code=problem.code,
            message=problem.message,
            file=file,
            line=node.line,
            column=node.column,
            length=node.length,
            help=problem.help,
            replacement=problem.replacement,
            source=self.line(file, node.line),
            way=way,
        )


class Reading:
    """The documents of one file."""

    def __init__(self, file: SourceFile, settings: Settings, sources: Sources) -> None:
        self._file = file
        self._largest = settings.largest_file
        self._sources = sources
        self.findings: list[Finding] = []
        self.written: list[Written] = []
        sources.add(file)
        text = self._text()
        if text is None:
            return
        documents = parse(text)
        if not documents:
            self._add("TM003", f"`{file.path}` defines nothing", help="remove the file")
        for document in documents:
            self._document(document)

    def _text(self) -> str | None:
        file, largest = self._file, self._largest
        if file.failure:
            advice = "give the path of a file or a directory of definitions"
            self._add(file.code, file.failure, help=advice)
            return None
        if len(file.data) > largest:
            message = f"`{file.path}` has more than {largest:,} bytes"
            self._add("TM010", message, help="split it; a directory is read whole")
            return None
        try:
            return file.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = file.data[: error.start].decode("utf-8-sig", "replace")
            self._add(
                "TM002",
                f"the byte 0x{file.data[error.start]:02x} is not UTF-8",
                line=before.count("\n") + 1,
                column=len(before) - (before.rfind("\n") + 1) + 1,
                help="save the file as UTF-8",
            )
            return None

    def _document(self, document: Document) -> None:
        for problem in document.problems:
            self._add(
                problem.code,
                problem.message,
                line=problem.line,
                column=problem.column,
                length=problem.length,
                help=problem.help,
            )
        root = document.root
        if root is None:
            return
        if not isinstance(root, Mapping):
            message = "a definition is a mapping of fields, and this is "
            message += "a list" if hasattr(root, "items") else "a single value"
            advice = "begin with `apiVersion: tidemill/v1`; several documents are parted by `---`"
            self._add("TM008", message, line=root.line, column=root.column, help=advice)
            return
        file = self._file
        clean = not document.problems
        self.written.append(Written(root, file.path, file.home, clean, file.wanted, file.alone))

    def _add(
        self,
        code: str,
        message: str,
        *,
        line: int = 1,
        column: int = 1,
        length: int = 1,
        help: str = "",  # noqa: A002  (a finding's own word)
    ) -> None:
        self.findings.append(
            Finding(
                code=code,
                message=message,
                file=self._file.path,
                line=line,
                column=column,
                length=length,
                help=help,
                source=self._sources.line(self._file.path, line),
            )
        )
