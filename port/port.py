"""The port of one recorded net: the text of every file, and what was found on the way."""

import ast
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from port.calls import SourceLine
from port.cut.cut import Cut, packages_around
from port.record.facts import FileRecord, Record
from port.record.instrument import Span
from port.source import Source
from port.trace.chosen import chosen
from port.trace.graph import TracedClass
from port.write.files.origin import with_origin
from port.write.files.places import file_of, reference_name, written_name
from port.write.files.settings import settings_beside
from port.write.files.texts import without_marks
from port.write.gaps import Gap, Needs, SpellingChoice
from port.write.imports import import_lines, with_imports
from port.write.in_place.uses import written_and_held, written_and_read_later
from port.write.rewrite import Rewriter
from port.write.torch_like import TorchLike

DRAWN = "with_torch_first_weights"  # the helper that builds a net as torch draws it
_DRAWN_OTHERWISE = re.compile(r"\bnn\.(Conv[123]D|Linear|Bilinear|Embedding)")


@dataclass
class WrittenFile:
    """One file of the port. path: inside its folder; source: what it was written from.

    silent: lines (first, last) of the source that stand in the port and did not run.
    """

    path: str
    text: str
    source: FileRecord | None = None
    needs: Needs = field(default_factory=Needs)
    silent: list[tuple[int, int]] = field(default_factory=list)


@dataclass
class Port:
    """A port: its files, and the dotted name and callable that build the net.

    untraced: classes that could not be written from their graphs, and why. settings: files that
    its code reads, by where they stand inside its folder; unread: places in some that it cannot.
    """

    files: list[WrittenFile]
    root: tuple[str, str]
    untraced: list[tuple[str, str]] = field(default_factory=list)
    settings: dict[str, Path] = field(default_factory=dict)
    unread: list[Gap] = field(default_factory=list)

    @property
    def gaps(self) -> list[Gap]:
        """Return what has no spelling, of every file."""
        return [*(gap for file in self.files for gap in file.needs.gaps), *self.unread]

    @property
    def helpers(self) -> set[str]:
        """Return the helpers that any file uses, or the builder."""
        used = {name for file in self.files for name in file.needs.helpers}
        return (used | ({DRAWN} if self.draws else set())) - self.classes.keys()

    @property
    def draws(self) -> bool:
        """Tell whether it makes layers whose first weights Paddle draws otherwise."""
        texts = [file.text for file in self.files] + [one.source for one in self.classes.values()]
        return any(map(_DRAWN_OTHERWISE.search, texts))

    @property
    def classes(self) -> dict[str, TorchLike]:
        """Return the classes that take torch's arguments, by name."""
        return {k: v for file in self.files for k, v in file.needs.classes.items()}


def write_port(
    record: Record,
    tell: Callable[[Path], None] = lambda path: None,
    otherwise: Mapping[SpellingChoice, int] = MappingProxyType({}),
    traced: Sequence[TracedClass] = (),
) -> Port:
    """Return the port of a recording.

    tell: is told of each file as it is begun. otherwise: the number of the spelling for calls that
    are not to have their first. traced: classes whose forward is written from their graphs.
    """
    sources = {
        name: Source(file, record.files) for name, file in record.files.items() if file.imported
    }
    cut = Cut(record, sources, chosen(traced, sources))
    late = {place for name in cut.modules for place in written_and_read_later(sources[name])}
    late |= written_and_held(record, sources)
    files = []
    for module in cut.modules:
        tell(record.files[module].path)
        in_place = {span for name, span in late if name == module}
        files.append(_written(sources[module], cut, otherwise, in_place))
    have = {file.path for file in files}
    around = packages_around([written_name(record.files[module]) for module in cut.modules])
    for package in sorted(around):
        path = file_of(package, True)
        if path not in have:
            files.append(WrittenFile(path, _bound_late(reference_name(package), record.files, cut)))
    root = record.files[record.root[0]]
    settings, unread = settings_beside(record, cut, sources)
    return Port(files, (written_name(root), record.root[1]), cut.traced.failed, settings, unread)


def _written(
    source: Source, cut: Cut, otherwise: Mapping[SpellingChoice, int], in_place: Set[Span]
) -> WrittenFile:
    rewriter = Rewriter(source, cut, otherwise, in_place)
    text = rewriter.module()
    rewriter.needs.gaps = [_passed_by(gap, cut) for gap in rewriter.needs.gaps]
    lines = rewriter.imports.lines(rewriter.needs.imports, rewriter.needs.helpers)
    text = without_marks(with_imports(text, lines))
    if late := _bound_late(source.module, rewriter.source.files, cut):
        text = "\n".join(filter(None, [text.rstrip(), late]))
    if source.record.library:
        text = with_origin(text, source.record) if ast.parse(text).body else ""
    path = file_of(written_name(source.record), source.record.is_package)
    rewriter.needs.gaps += references_own(text, Path(path), source.files)
    return WrittenFile(path, text, source.record, rewriter.needs, silent_lines(source, cut))


def _bound_late(module: str, files: Mapping[str, FileRecord], cut: Cut) -> str:
    """Return the imports at the end of a package's file that bind what others read of it."""
    lent = {name: written_name(files[home]) for name, home in cut.lent.get(module, {}).items()}
    package = written_name(files[module]) if module in files else module
    return import_lines(package, cut.unbound(module), lent)


def _passed_by(gap: Gap, cut: Cut) -> Gap:
    """Return a gap as one that nothing reaches where traced forwards stand for its callers."""
    place = (str(gap.where.file), gap.where.line)
    return replace(gap, ran=False) if place in cut.traced.places else gap


def references_own(text: str, path: Path, files: Mapping[str, FileRecord]) -> list[Gap]:
    """Return as gaps the imports of a port that reach modules of the reference's.

    They would run beside the port, as long as the reference is there.
    """
    found: list[Gap] = []
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in (one for one in names if one in files and not files[one].library):
            where = SourceLine(path, node.lineno)  # type: ignore[attr-defined]  # has a place
            reason = "is the reference's own module, and not the port's"
            found.append(Gap(where, name, reason, True))
    return found


def silent_lines(source: Source, cut: Cut) -> list[tuple[int, int]]:
    """Return the lines of kept code that did not run, as (first, last), in order."""
    found: list[tuple[int, int]] = []
    for block in source.blocks():
        first, last = block[0].lineno, block[-1].end_lineno or block[-1].lineno
        inside = found and found[-1][0] <= first and last <= found[-1][1]
        if not source.ran(block) and not inside and cut.holds(source, block[0]):
            found.append((first, last))
    return found
