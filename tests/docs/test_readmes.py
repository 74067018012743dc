"""The READMEs say what the code does, and both say the same."""

import re
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.paths import ROOT

sys.path += [str(ROOT / "docs"), str(ROOT / "docs" / "proof")]

import growth
import prove
import write_tables

ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text(encoding="utf-8")
BOTH = pytest.mark.parametrize("text", [ENGLISH, CHINESE], ids=["README.md", "README.zh-CN.md"])
FENCE = re.compile(r"```(\w+)\n(.*?)```", flags=re.S)
LINK = re.compile(r"(!?)\[[^\]\n]*\]\(([^)\s]+)\)")


def sections(text):
    """Return (level of the heading, what follows it) of each section."""
    plain = FENCE.sub("", text)
    return re.findall(r"^(#+) .*\n((?:(?!#+ ).*\n)*)", plain, flags=re.M)


def blocks(text):
    """Return (language, code without comments) of each block of code, but the tree of folders."""
    return [
        (name, code if name == "text" else re.sub(r" *#.*", "", code))
        for name, code in FENCE.findall(text)
        if "torch_ref/" not in code
    ]


def cells(text):
    """Return the tables: per cell its code, links and figures."""
    rows = [line for line in FENCE.sub("", text).splitlines() if line.startswith("| ")]
    inner = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return [[re.findall(r"`[^`]+`|\]\([^)]+\)|[\d.]+%?", cell) for cell in row] for row in inner]


def links(text):
    """Return (picture or not, target) of each link but that to the other README, sorted."""
    found = LINK.findall(FENCE.sub("", text))
    return sorted(link for link in found if not link[1].startswith("README"))


def test_the_same_in_both_languages():
    assert [level for level, _ in sections(ENGLISH)] == [level for level, _ in sections(CHINESE)]
    assert blocks(ENGLISH) == blocks(CHINESE)
    assert links(ENGLISH) == links(CHINESE)
    assert "](README.zh-CN.md)" in ENGLISH
    assert "](README.md)" in CHINESE


def test_the_same_words_of_code_in_both_languages():
    for number, (one, other) in enumerate(zip(sections(ENGLISH), sections(CHINESE), strict=True)):
        found = [set(re.findall(r"`([^`\n]+)`", part)) for _, part in (one, other)]
        assert found[0] == found[1], f"section {number}: {found[0] ^ found[1]}"


def test_the_same_tables_in_both_languages():
    english, chinese = cells(ENGLISH), cells(CHINESE)
    assert [len(row) for row in english] == [len(row) for row in chinese]
    for one, other in zip(english, chinese, strict=True):
        assert [sorted(cell) for cell in one] == [sorted(cell) for cell in other]


COUNTED = {"stdc1_seg", "unet", "unet3d"}


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.prove)])
def test_tables_are_what_the_script_writes(monkeypatch, every):
    """Parameters and products of a few nets are counted anew here, of all in `make prove`."""
    pytest.importorskip("torch")
    counted = write_tables.cost
    written = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+ M \| [^|]+?) \|", ENGLISH, flags=re.M))

    def cost(name):
        known = written.get(name)
        return counted(name) if every or name in COUNTED or not known else tuple(known.split(" | "))

    monkeypatch.setattr(write_tables, "cost", cost)
    monkeypatch.setattr(sys, "argv", ["write_tables.py", "--check"])
    assert write_tables.main() == 0, "run docs/write_tables.py"


@BOTH
def test_links_and_pictures_exist(text):
    for picture, target in LINK.findall(FENCE.sub("", text)):
        if target.startswith("https://"):
            continue
        path = ROOT / target.partition("#")[0]
        assert path.exists(), target
        if picture:
            assert path.stat().st_size < 150_000, f"{target} is larger than 150 KB"
            with Image.open(path) as image:
                image.load()


@BOTH
def test_commands_exist(text):
    for path in re.findall(r"(?:tools|configs)/[\w./]+\.(?:py|yml)", text):
        assert (ROOT / path).exists(), path


@BOTH
def test_every_command_is_run_by_make_prove(text):
    shown = re.findall(r"`(python [^`\n]+)`", FENCE.sub("", text))
    assert len(shown) == 8  # those of the ten steps
    assert set(shown) <= set(prove.readme_commands())


def test_findings_of_the_own_net_are_those_of_its_walk():
    walk = (ROOT / "examples" / "own_net" / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^(?:- |not aligned: ).*", "".join(c for _, c in blocks(ENGLISH)), re.M)
    assert len(shown) == 8
    for line in shown:
        assert line in walk, line


def test_figures_of_float32_are_those_of_the_answers():
    answers = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")  # measured anew by make prove
    row = re.search(r"^\| worst gradient, train mode \| (.+) \| (.+) \| (.+) \|$", answers, re.M)
    assert row, "docs/faq.md has no row of the worst gradient"
    for text in (ENGLISH, CHINESE):
        part = sections(text)[3][1]
        assert set(row.groups()) == set(re.findall(r"\de-\d\d", part))


def test_account_is_that_of_stdc1():
    pytest.importorskip("torch")
    pytest.importorskip("paddle")
    from convert import convert_state
    from paddle_impl import build_model
    from torch_ref.seeded import build_seeded

    state = build_seeded("stdc1_seg", 0).state_dict()
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    totals = convert_state(arrays, build_model("stdc1_seg")).account.summary()["totals"]
    shown = re.findall(r"^ *(\d+)  (\w+)$", ENGLISH, flags=re.M)
    assert {word: int(count) for count, word in shown} == {
        word: count for word, count in totals.items() if count
    }


NEW = (
    "training: 40 broken ports: 97.5% detected, 95.0% blamed on exactly the right layers, "
    "80.0% of 20 causes right; 3 healthy ones: 0 false alarms"
)


def test_faults_are_read_stage_by_stage():
    found = f"{NEW}<br>{NEW.replace('training', 'all stages')}"
    rows = write_tables.fault_table([{"stage": "faults", "found": found}], str)
    assert rows[1] == ["training", "40", "97.5%", "95.0%", "80.0% (20)", "3", "0"]
    assert [row[0] for row in rows[1:]] == ["training", "all stages"]
    assert len({len(row) for row in rows}) == 1


def test_stages_are_called_as_the_commands_call_them_in_both_languages():
    stages = ("weights", "forward", "loss", "data", "step", "init")
    found = "<br>".join(NEW.replace("training", stage) for stage in stages)
    rows = write_tables.fault_table([{"stage": "faults", "found": found}], write_tables.in_chinese)
    assert [row[0] for row in rows[1:]] == list(stages)


def test_a_line_of_faults_that_is_not_understood_is_an_error():
    with pytest.raises(ValueError, match="not a line of"):
        write_tables.fault_table([{"stage": "faults", "found": "no module named tests"}], str)


def test_a_failed_measurement_is_shown():
    row = {"name": "kills", "date": "2026-11-21", "found": "1 failed, 9 passed in 3.10s"}
    rows = write_tables.proof_table(
        [row | {"stage": "kills", "good": False}, row | {"stage": "readme", "good": False}], str
    )
    assert rows[1] == ["kills", "**no**", "1 failed, 9 passed", "2026-11-21"]
    assert rows[2][1:3] == ["**no**", "0 of 1"]


def test_a_net_that_is_not_aligned_is_shown():
    figures = {"differing": ["seed 0: not aligned: conv"], "forward": 1e-14}
    assert write_tables.aligned(figures, str) == ["**not aligned**"] * 2
    assert write_tables.aligned(None, write_tables.in_chinese) == ["未测"] * 2


def test_the_line_of_growth_is_laid_through_all_sizes_but_the_last():
    sizes = [[2, 100, 100], [4, 100, 100], [2, 200, 400]]
    rows = [{"size": s, "seconds": 1 + 1e-4 * s[0] * s[1] * s[2], "bytes": 50} for s in sizes]
    rows[-1]["seconds"] /= 2
    found = growth.fitted(rows)
    assert found["seconds"]["line"] == pytest.approx([1, 1e-4])
    assert found["seconds"]["off"] == pytest.approx(0, abs=1e-9)
    assert found["seconds"]["off_beyond"] == pytest.approx(1)
    assert found["bytes"]["line"] == pytest.approx([50, 0])


def test_a_readme_without_a_place_for_a_table_is_an_error():
    with pytest.raises(ValueError, match="no place"):
        write_tables.written("# Title\n", {"models": "| a |"})


def test_contributing_names_only_make_targets_that_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    named = set(re.findall(r"`make ([a-z0-9-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert named <= targets


def test_every_long_test_is_run_by_make_prove():
    script = Path(prove.__file__).read_text(encoding="utf-8")
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "pytest.mark.prove" in path.read_text(encoding="utf-8") and path != Path(__file__)
    ]
    assert len(marked) > 5
    assert [name for name in marked if f'"{name}"' not in script] == []


@BOTH
def test_every_extra_is_named(text):
    said = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table = said.split("[project.optional-dependencies]")[1].split("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", table, flags=re.M)
    assert [extra for extra in extras if f"`{extra}`" not in text] == []
