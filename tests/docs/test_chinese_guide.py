"""The Chinese guide: every page of the guide has its counterpart, part by part, in Chinese."""

import re
import sys

import pytest

from tests.paths import ROOT

sys.path.append(str(ROOT / "docs"))

import hooks

GUIDE, CHINESE = ROOT / "docs" / "guide", ROOT / "docs" / "zh"
PAGES = sorted(path.name for path in GUIDE.glob("*.md"))
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", flags=re.M | re.S)


def blocks(text):
    """Return what a reader types or copies: all blocks but what commands print."""
    return [code for kind, code in BLOCK.findall(text) if kind != "text" or "python" in code]


def rows(text):
    return len(re.findall(r"^\|", BLOCK.sub("", text), flags=re.M))


def test_every_page_has_its_counterpart():
    assert {path.name for path in CHINESE.glob("*.md")} == {"index.md", *PAGES}


@pytest.mark.parametrize("name", PAGES)
def test_the_counterpart_has_the_same_parts(name):
    english, chinese = ((folder / name).read_text("utf-8") for folder in (GUIDE, CHINESE))
    assert blocks(chinese) == blocks(english)
    assert rows(chinese) == rows(english)
    heads = [re.findall(r"^#+ ", BLOCK.sub("", text), flags=re.M) for text in (english, chinese)]
    assert heads[0] == heads[1]
    # Links to pages of the guide lead to their counterparts, others to the same page.
    theirs, ours = (
        {target for _, _, target, _ in hooks.LINK.findall(BLOCK.sub("", text))}
        for text in (english, chinese)
    )
    assert theirs - ours == set()
    assert ours - theirs <= {f"../guide/{name}"}


@pytest.mark.parametrize("name", PAGES)
def test_the_counterpart_names_the_same_options_keys_and_examples(name):
    english, chinese = ((folder / name).read_text("utf-8") for folder in (GUIDE, CHINESE))
    named = {
        code
        for code in re.findall(r"`([^`\n]+)`", BLOCK.sub("", english))
        if re.match(r"--[a-z]|[a-z_]+\.[a-z_]+\b", code)
    }
    shown = re.findall(r"<!-- include: (examples/\w+)", english)
    assert {text for text in (*named, *shown) if text not in chinese} == set()


@pytest.mark.parametrize("name", ["index.md", *PAGES])
def test_no_paragraph_is_left_in_english(name):
    text = BLOCK.sub("", (CHINESE / name).read_text("utf-8"))
    for line in re.sub(r"`[^`\n]*`|\[[^\]]*\]\([^)]*\)", "", text).splitlines():
        words = re.findall(r"[A-Za-z]{3,}", line)
        assert len(words) < 7 or re.search("[\u4e00-\u9fff]", line), line
