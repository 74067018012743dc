"""Write a PyTorch net as readable Paddle source, and prove that it computes the same."""

import _checkout  # noqa: F401 - the checkout onto the path

from commands.guard import run_guarded
from commands.port.command import parse, port

EXAMPLE = """python tools/port.py my_pkg.nets:build --input-shape 2 3 64 64 -o my_port
  python tools/port.py my_pkg.nets:UNet --args n_classes=2 --input-shape 2 3 64 64 \\
      --weights model.pth -o unet_paddle
  python tools/port.py --check unet_paddle"""


def main() -> int:
    """Port a net, or prove a port again."""
    return port(parse(__doc__ or "", EXAMPLE))


if __name__ == "__main__":
    run_guarded(main)
