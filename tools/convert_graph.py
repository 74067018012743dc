"""Make a Paddle net of an ONNX file or a traced net through X2Paddle, and show that it is equal."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.graph.command import parse, run
from commands.guard import run_guarded

EXAMPLE = """python tools/convert_graph.py model.onnx -o net_paddle
  python tools/convert_graph.py my_pkg.nets:build --input-shape 2 3 64 64 -o net_paddle"""


def main() -> int:
    """Convert a graph, judge what came of it."""
    return run(parse(__doc__ or "", EXAMPLE))


if __name__ == "__main__":
    run_guarded(main, patient=True)
