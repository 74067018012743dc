"""Writes docs/differences.md from docs/differences.yml: run it after a change of the table."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
TABLE, PAGE = HERE / "differences.yml", HERE / "differences.md"
TESTED = ("2.6.2", "3.3.1")  # versions of Paddle on which the tests were run

INTRODUCTION = """\
# Differences between PyTorch and PaddlePaddle

<!-- written by docs/write_differences.py from docs/differences.yml -->

{count} differences that a port meets, each with its effect and its fix. Every row has a test,
named in the last column (`tests/docs/differences/`). So a new release of Paddle that changes
one turns a test red. Figures were measured on a CPU, with Paddle {versions}.

"Port" is the Paddle side. "Without a word" means: no error and no warning. A row without a version
holds on all of them.
"""


def read_table() -> list[dict[str, Any]]:
    """Return the sections of the table: area and rows."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def page(sections: list[dict[str, Any]]) -> str:
    """Return the page as Markdown."""
    count = sum(len(section["rows"]) for section in sections)
    parts = [INTRODUCTION.format(count=count, versions=" and ".join(TESTED))]
    for section in sections:
        lines = [
            f"## {section['area']}",
            "",
            "| torch | Paddle | effect on a port | fix | test |",
            "|---|---|---|---|---|",
            *(line(row) for row in section["rows"]),
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def line(row: dict[str, Any]) -> str:
    """Return one row."""
    theirs, ours = (f"{name}: {what}" for name, what in (row["torch"], row["paddle"]))
    if "holds" in row:
        ours += f" (**{', '.join(row['holds'])} only**)"
    if "paddle26" in row:
        ours += f"; **2.6.2**: {row['paddle26']}"
    cells = [theirs, ours, row["effect"], row["fix"], f"`{row['test']}`"]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Write the page, or check that it is up to date."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="exit 1 if the page is stale")
    options = arguments.parse_args()
    wanted = page(read_table())
    if options.check:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted)
    from common.documents import write_text

    write_text(PAGE, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
