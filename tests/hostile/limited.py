"""Runs a command, `limited.py tools/x.py ...`, in bounds of memory and of time.

What reaches the outermost handler of commands is marked on stderr: nothing of the corpus may.
"""

import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path

MORE_MEMORY = 1 << 30  # bytes that a command may take beyond what is loaded
SECONDS, WAITED = 30, 120  # of the processor, and by the clock
UNFORESEEN = "reached the outermost handler"


def main():
    """Run the script that the command line names."""
    from commands import entry

    held = Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]
    limit = int(held) * 1024 + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(WAITED)
    known = entry.ended_by

    def ended_by(error):
        print(UNFORESEEN, "".join(traceback.format_exception(error)), file=sys.stderr)
        return known(error)

    entry.ended_by = ended_by
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
