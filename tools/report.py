"""Rebuild the page of a run from its JSON file, or lay two runs side by side. Runs no net."""

import argparse
from pathlib import Path
from typing import Any

import _checkout  # noqa: F401 - the checkout onto the path

from commands.entry import parser, print_json, run


def main() -> int:
    """Write the page and print its verdict; needs neither torch nor Paddle."""
    options = _parse()
    from align.report.read import read_run
    from align.report.write import write_junit, write_page
    from common.terminal import screen, verdict

    runs = [read_run(path) for path in options.files]
    if len(runs) == 2:
        return _side_by_side(options, *runs)
    (only,) = runs
    output = options.output or options.files[0].with_suffix(".html")
    write_page(only, output)
    written = [output]
    if options.junit:
        write_junit(only, options.junit)
        written.append(options.junit)
    if options.json:
        print_json({"written": [str(path) for path in written], "exit_code": only.exit_code})
    else:
        _say_written(written, options.quiet)
        for rung in only.rungs:
            verdict(screen(), rung.exit_code, f"{rung.name}: {rung.result}")
    return only.exit_code


def _side_by_side(options: argparse.Namespace, before: Any, after: Any) -> int:
    from align.report.changes import GONE, MENDED, NEW, STILL, compare_runs
    from align.report.html.page import render_comparison
    from common.documents import plain, write_text
    from common.errors import UserError
    from common.terminal import screen, verdict

    if options.junit:
        raise UserError("--junit takes one run; give it the second file alone")
    stem = f"{options.files[0].stem}-{options.files[1].stem}.html"
    output = options.output or options.files[1].with_name(stem)
    write_text(output, render_comparison(before, after))
    changes = compare_runs(before, after)
    found = {
        status: [str(change) for change in changes if change.status == status]
        for status in (MENDED, NEW, STILL, GONE)
    }
    if options.json:
        print_json(plain({"written": [str(output)], "exit_code": after.exit_code, **found}))
        return after.exit_code
    _say_written([output], options.quiet)
    if not options.quiet:
        for status, lines in found.items():
            for line in lines:
                print(f"- {status}: {line}")
    counts = ", ".join(f"{len(lines)} {status}" for status, lines in found.items())
    verdict(screen(), after.exit_code, counts)
    return after.exit_code


def _say_written(paths: list[Path], quiet: bool) -> None:
    if not quiet:
        print(f"written: {', '.join(map(str, paths))}", flush=True)


def _parse() -> argparse.Namespace:
    arguments = parser(
        f"{__doc__} The exit code is that of the run, or of the second of two.",
        "python tools/report.py out/forward_eval.json\n"
        "  python tools/report.py before.json after.json -o mended.html",
    )
    arguments.add_argument(
        "files", type=Path, nargs="+", metavar="FILE.json", help="one run, or before and after"
    )
    arguments.add_argument("-o", "--output", type=Path, help="default: beside the (second) file")
    arguments.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML too")
    arguments.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments.add_argument("--quiet", action="store_true", help="the verdict alone")
    options = arguments.parse_args()
    if len(options.files) > 2:
        arguments.error("one file, or two: before and after")
    return options


if __name__ == "__main__":
    run(main)
