"""What the operators of a Paddle model cost."""

from collections.abc import Callable, Iterator
from typing import Any

from paddle import profiler

OPERATORS = ("onednn_op.", "pd_op.")  # how Paddle's events of operators begin
NANO = 1e-9


def operators(run: Callable[[], Any]) -> dict[str, float]:
    """Return the seconds of each kind of operator in one call of `run`."""
    # By default it leaves a folder of logs where the user stands.
    watched = profiler.Profiler(
        targets=[profiler.ProfilerTarget.CPU], on_trace_ready=lambda made: None
    )
    watched.start()
    run()
    watched.stop()
    found: dict[str, float] = {}
    for root in watched.profiler_result.get_data().values():
        for event in _below(root):
            if event.name.startswith(OPERATORS):
                seconds = (event.end_ns - event.start_ns) * NANO
                found[event.name] = found.get(event.name, 0.0) + seconds
    return found


def _below(event: Any) -> Iterator[Any]:
    for child in event.children_node:
        yield child
        yield from _below(child)
