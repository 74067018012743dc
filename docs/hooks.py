"""What `mkdocs.yml` cannot say: pages that come and go, and text that lives elsewhere.

A line `<!-- include: PATH -->` becomes the text of that file of the repository, or nothing where it
does not exist; `<!-- include: PATH between START and END -->` becomes what stands between two
comments in it. Links to files outside docs/ become their names: the site holds no code.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
INCLUDE = re.compile(r"^<!-- include: (\S+?)(?: between (.+?) and (.+?))? -->$", flags=re.M)
LINK = re.compile(r"(!?)\[([^\]\n]*)\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"^(```.*?^```|~~~.*?^~~~)", flags=re.M | re.S)


def on_config(config: Any) -> Any:
    """Leave out of the navigation what does not exist, and add what it does not name."""
    config["nav"] = existing(config["nav"])
    config["mdx_configs"]["toc"]["slugify"] = anchor
    named = set(pages_of(config["nav"]))
    found = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    more = sorted(found - named)
    if more:
        formats = next(part["Formats"] for part in config["nav"] if "Formats" in part)
        formats.extend(more)
    return config


def anchor(heading: str, separator: str) -> str:
    """Return the name of a heading; the theme's scripts take none that begins with a digit."""
    from markdown.extensions.toc import slugify

    name: str = slugify(heading, separator)
    return f"step{separator}{name}" if name[:1].isdigit() else name


def existing(part: Any) -> Any:
    """Return a part of the navigation without the pages that are not there."""
    if isinstance(part, list):
        kept = [existing(item) for item in part]
        return [item for item in kept if item]
    if isinstance(part, dict):
        kept_items = {title: existing(value) for title, value in part.items()}
        return {title: value for title, value in kept_items.items() if value}
    return part if (DOCS / part).exists() else None


def pages_of(part: Any) -> list[str]:
    """Return the pages that a part of the navigation names."""
    if isinstance(part, str):
        return [part]
    values = part.values() if isinstance(part, dict) else part
    return [page for value in values for page in pages_of(value)]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in what a page includes, and turn links to files that the site does not hold."""
    return site_text(markdown, page.file.src_uri)


# What the theme's switch of colours sets, highlight.js or not.
SHEETS = '<style id="hljs-light"></style><style id="hljs-dark"></style>'
SEARCH = re.compile(r'<script src="([^"]*search/main\.js)"></script>')


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Say the language of a page, and keep the theme's scripts from errors.

    A browser refuses a search from the disk: there the script is left out.
    """
    if page.file.src_uri.startswith("zh/"):
        output = output.replace('<html lang="en"', '<html lang="zh-CN"', 1)
    output = output.replace("</head>", f"{SHEETS}</head>", 1)
    return SEARCH.sub(
        r"""<script>location.protocol === "file:" || document.body.append("""
        r"""Object.assign(document.createElement("script"), {src: "\1"}))</script>""",
        output,
    )


def site_text(markdown: str, page: str) -> str:
    """Return the text of `page` (a path in docs/) as the site shows it."""
    folder = PurePosixPath("docs", page).parent.as_posix()

    def put_in(match: re.Match[str]) -> str:
        path, start, end = match.groups()
        return included(path, start, end, folder)

    return INCLUDE.sub(put_in, turn_links(markdown, folder, folder))


def included(path: str, start: str | None, end: str | None, folder: str) -> str:
    """Return the text of a file of the repository for a page in `folder`.

    Raises ValueError where a file lacks the two comments.
    """
    if not (ROOT / path).exists():
        return ""
    text = (ROOT / path).read_text(encoding="utf-8")
    if start is not None:
        _, found, rest = text.partition(f"<!-- {start} -->")
        text, closed, _ = rest.partition(f"<!-- {end} -->")
        if not found or not closed:
            raise ValueError(f"{path}: no text between <!-- {start} --> and <!-- {end} -->")
    text = re.sub(r"^# .*\n", "", text, count=1)  # the page has its own title
    return turn_links(text, PurePosixPath(path).parent.as_posix(), folder)


def turn_links(text: str, base: str, folder: str) -> str:
    """Rewrite links relative to `base` for a page in `folder`; both are paths in the repository."""

    def turned(match: re.Match[str]) -> str:
        bang, words, target, anchor = match.groups()
        path = normpath(f"{base}/{target}")
        if path.startswith("docs/") and (ROOT / path).exists():
            return f"{bang}[{words}]({relpath(path, folder)}{anchor or ''})"
        if path.startswith("docs/") and not bang:
            return match.group()  # strict mode tells
        return words if words.strip("`") == path or bang else f"{words} (`{path}`)"

    parts = FENCE.split(text)
    return "".join(part if FENCE.match(part) else LINK.sub(turned, part) for part in parts)
