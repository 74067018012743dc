"""`look_at_data.py CONFIG [key=value]`: reads a data set as check_data does, and draws nothing."""

import sys
from pathlib import Path

from commands import entry
from commands.check_data.flow import open_splits, read_all
from commands.subjects.named.config import read_config
from common.words.controls import in_one_line


def main():
    """Return 1 where something is wrong with the data."""
    sources, survey = open_splits(read_config(Path(sys.argv[1]), sys.argv[2:]))
    survey.looks += read_all(sources, 0)
    for look in survey.looks:
        print(in_one_line(f"{look.place} {look.problem}"))
    return entry.CHECKED_BAD if survey.findings else entry.CHECKED_GOOD


if __name__ == "__main__":
    entry.run(main)
