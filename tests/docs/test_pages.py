"""The pages: their commands and links exist, and the site builds without a warning."""

import logging
import re
import sys

import pytest

from tests.nursery import run_script
from tests.paths import ROOT

sys.path.append(str(ROOT / "docs"))

import hooks

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def test_links_and_pictures_exist():
    for page in READ:
        for _, _, target, _ in hooks.LINK.findall(hooks.FENCE.sub("", page.read_text("utf-8"))):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_exist_and_know_their_options():
    sources = {
        path: path.read_text("utf-8")
        for room in ("tools", "commands")
        for path in (ROOT / room).rglob("*.py")
    }
    known = set(re.findall(r'"(--[a-z-]+)"', "\n".join(sources.values())))
    for page in READ:
        for line in re.findall(r"^python (\w+/.*)$", page.read_text("utf-8"), flags=re.M):
            script, *words = line.split("#")[0].split()
            assert (ROOT / script).exists(), f"{page.name}: {script}"
            for word in words:
                assert not word.startswith("--") or word in known, f"{page.name}: {word}"
                assert not word.startswith("configs/") or (ROOT / word).exists(), word


@pytest.mark.parametrize("tool", sorted(path.name for path in ROOT.glob("tools/[a-z]*.py")))
def test_help_names_the_command_itself(tool):
    done = run_script(f"tools/{tool}", "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    shown = done.stdout
    assert set(re.findall(r"python\S* (tools/\w+\.py)", shown)) == {f"tools/{tool}"}


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for page in READ:
        named = set(
            re.findall(r"(?:^|`)make ([a-z][a-z0-9-]+)", page.read_text("utf-8"), flags=re.M)
        )
        assert named <= targets, page.name


def test_every_page_has_a_place():
    config = hooks.on_config(
        {"nav": [{"Formats": ["rules.md", "not_yet.md"]}], "mdx_configs": {"toc": {}}}
    )
    assert set(hooks.pages_of(config["nav"])) == {p.relative_to(DOCS).as_posix() for p in PAGES}


def test_text_from_elsewhere():
    nets = (DOCS / "models.md").read_text("utf-8")
    assert "| `stdc1_seg` |" in hooks.site_text(nets, "models.md")
    assert hooks.site_text("<!-- include: examples/absent/README.md -->", "a.md") == ""
    with pytest.raises(ValueError, match="no text between"):
        hooks.site_text("<!-- include: README.md between here and there -->", "a.md")


@pytest.mark.parametrize(
    ("text", "base", "page", "shown"),
    [
        ("[r](docs/rules.md#back)", ".", "guide", "[r](../rules.md#back)"),
        ("[c](CONTRIBUTING.md)", ".", "", "c (`CONTRIBUTING.md`)"),
        ("[`x.py`](x.py)", ".", "", "`x.py`"),
        ("[w](https://example.org/a.md)", ".", "", "[w](https://example.org/a.md)"),
        ("![p](absent.png)", ".", "", "p"),
        ("```\n[0](x.py)\n```", ".", "", "```\n[0](x.py)\n```"),
    ],
)
def test_links_of_text_from_elsewhere(text, base, page, shown):
    assert hooks.turn_links(text, base, f"docs/{page}".rstrip("/")) == shown


def test_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True)
    said = Said()
    logging.getLogger("mkdocs").addHandler(said)
    try:
        build(config)
    finally:
        logging.getLogger("mkdocs").removeHandler(said)
    assert said.lines == []
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(r'(?:src|<link[^>]*href)="(https?:[^"]*)"', page.read_text("utf-8"))
        assert loaded == [], page.name
    assert "align_forward" in (tmp_path / "reference" / "align.html").read_text("utf-8")


class Said(logging.Handler):
    """Warnings that were logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.mark.prove
def test_noise_is_what_the_answers_say():
    """Each figure of the table in docs/faq.md, within a factor of ten."""
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from measure_noise import measure

    said = (DOCS / "faq.md").read_text("utf-8")
    for name, figures in measure().items():
        row = re.search(rf"^\| {re.escape(name)} \|(.*)\|$", said, flags=re.M)
        assert row, name
        for shown, measured in zip(row.group(1).split("|"), figures, strict=True):
            assert bool(shown.strip()) == bool(measured)
            if measured:
                assert 0.1 < float(shown) / float(measured) < 10, name
