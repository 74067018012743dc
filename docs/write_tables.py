"""Writes the tables of the README that come from the code: run it after a change of the table."""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
START = "<!-- models: written by docs/write_tables.py -->"
END = "<!-- end of models -->"


def model_table() -> str:
    """Return the table of nets as Markdown: parameters, MACs, paper, source and licence."""
    import torch

    import torch_ref
    from common.pairs import PAIRS

    lines = [
        "| row | parameters | MACs of a 512x1024 image | paper | weights |",
        "|---|---:|---:|---|---|",
    ]
    for name, pair in PAIRS.items():
        with torch.device("meta"):
            net = torch_ref.build_model(name).eval()
        parameters = sum(p.numel() for p in net.parameters())
        macs, size = macs_of(net, classifier=net.state_dict()[pair.classes_key].ndim == 2)
        note = "" if size == (512, 1024) else f" ({size[0]}x{size[1]})"
        lines.append(
            f"| `{name}` | {parameters / 1e6:.2f} M | {macs / 1e9:.2f} G{note} | {pair.paper} | "
            f"[{source_name(pair.source)}]({pair.source}), {pair.weights_licence} |"
        )
    return "\n".join(lines)


def source_name(source: str) -> str:
    """Return owner/name of a repository's address."""
    return "/".join(source.rstrip("/").split("/")[-2:])


def macs_of(net: object, classifier: bool) -> tuple[int, tuple[int, int]]:
    """Return (multiply-accumulates, image size): 224x224 for classifiers, else 512x1024.

    513x1025 for a net that takes sizes of the form 8k + 1 only.
    """
    from common.errors import UserError

    if classifier:
        return count_macs(net, (1, 3, 224, 224)), (224, 224)
    try:
        return count_macs(net, (1, 3, 512, 1024)), (512, 1024)
    except UserError:
        return count_macs(net, (1, 3, 513, 1025)), (513, 1025)


def count_macs(net: object, shape: tuple[int, ...]) -> int:
    """Count multiply-accumulates of convolutions and linear layers for one input."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    assert isinstance(net, nn.Module)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(torch.empty(shape, device="meta"))
    return counter.get_total_flops() // 2


def main() -> int:
    """Write the table into the README, or check that it is up to date."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="exit 1 if the README is stale")
    options = arguments.parse_args()
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    wanted = f"{before}{START}\n\n{model_table()}\n\n{END}{after}"
    if options.check:
        return int(text != wanted)
    readme.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
