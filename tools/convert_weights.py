"""Convert a checkpoint into a Paddle net's weights, or back, and account for every tensor."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.convert import run_conversion
from commands.convert_options import conversion_parser
from commands.guard import run_guarded


def main() -> int:
    """Convert, go back or propose; then say what became of the tensors."""
    command = conversion_parser("python tools/convert_weights.py model_maxmIOU75.pth")
    return run_conversion(command.parse_args())


if __name__ == "__main__":
    run_guarded(main, patient=True)
