"""Writes the tables of both READMEs and the guide that come from the code and from `make prove`.

The nets with what docs/proof/nets.py measured of them, the faults that were found, the benchmarks;
in the guide the data sets.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
NETS = ROOT / "docs" / "proof" / "nets.json"
PROOF = ROOT / "docs" / "proof" / "proof.json"

# One line of docs/proof/faults.py; a dash where nothing was counted.
RATE = r"([\d.]+%|-)"
FAULTS = re.compile(
    rf"(?:(?P<stage>[\w ]+): )?(\d+) broken ports: {RATE} detected, {RATE} blamed on exactly the "
    rf"right layers(?:, {RATE} of (\d+) causes right)?; (\d+) healthy ones: (\d+) false alarms"
)

NAMES = {
    "align.py": "cost of alignment, against the bare passes",
    "convert.py": "cost of a conversion, against torch.load + paddle.save",
    "data.py": "cost of a training sample, against PaddleSeg's transforms",
    "trace.py": "cost of a stored trace, against the bare pass of the reference",
}
# The cells of these tables in Chinese; one that is not here stays English.
CHINESE = {
    "STDC1-Seg, 20 seeds, forward and backward, eval and train": (
        "STDC1-Seg，20 个随机种子，前向与反向，eval 与 train 模式"
    ),
    "50 kills while training": "训练中强行终止进程 50 次",
    "own nets, two environments, report pages": "自己的网络、两个环境、报告页面",
    "the other rows of the table": "模型表的其余各行",
    "every toy config": "所有玩具配置",
    "core tests on Paddle 2.6.2": "Paddle 2.6.2 上的核心测试",
    "`make docs`, warnings are errors": "`make docs`，警告即错误",
    "the crash of nll_loss, the noise of the answers": "nll_loss 的崩溃，常见问题中的噪声数字",
    "commands of the README and the guide": "README 与指南中的命令",
    "cost of alignment, against the bare passes": "对齐的开销，与裸跑相比",
    "cost of a conversion, against torch.load + paddle.save": (
        "权重转换的开销，与 torch.load + paddle.save 相比"
    ),
    "cost of a training sample, against PaddleSeg's transforms": (
        "读取并增强一个训练样本的开销，与 PaddleSeg 的 transforms 相比"
    ),
    "cost of a stored trace, against the bare pass of the reference": (
        "保存的 trace 的开销，与参考网络裸跑相比"
    ),
    "MACs of a 512x1024 image": "MACs（512x1024 图像）",
    "worst layer forward, backward": "单层最大误差：前向，反向",
    "whole net": "整网输出误差",
    "parameters": "参数量",
    "weights": "权重来源与许可",
    "paper": "论文",
    "row": "名称",
    "blamed on exactly the right layers": "定位完全正确",
    "causes right": "原因判断正确",
    "healthy ports": "正确的移植",
    "false alarms": "误报",
    "broken ports": "有错的移植",
    "detected": "检出",
    "all stages": "所有阶段",
    "stage": "阶段",
    "not measured": "未测",
    "not aligned": "未对齐",
    "not stated": "未说明",
    "none released": "未发布",
    "measured": "实测结果",
    "what": "项目",
    "good": "通过",
    "date": "日期",
    "yes": "是",
    "**no**": "**否**",
}
# The words of measured lines in Chinese.
CHINESE_UNITS = {
    " x the time, ": " 倍时间，",
    " x the time": " 倍时间",
    " x the memory": " 倍内存",
    " passed": " 项通过",
    " failed": " 项失败",
    " skipped": " 项跳过",
    " of ": " / ",
    " of bare forward passes (": "，相对于裸跑的前向 (",
    " of bare forward and backward passes (": "，相对于裸跑的前向与反向 (",
    "]: ": "]：",
    "), ": ")，",
    "; ": "；",
}
Say = Callable[[str], str]


def model_table(say: Say) -> list[list[str]]:
    """Return the table of nets: size, cost, what alignment measured, source."""
    from common.pairs import PAIRS

    figures = json.loads(NETS.read_text(encoding="utf-8"))
    head = ["row", "parameters:", "MACs of a 512x1024 image:", "worst layer forward, backward"]
    rows = [[*head, "whole net", "paper", "weights"]]
    for name, pair in PAIRS.items():
        source = f"[{source_name(pair.source)}]({pair.source})"
        cells = [f"`{name}`", *cost(name), *aligned(figures.get(name), say), pair.paper]
        rows.append([*cells, f"{source}, {say(pair.weights_licence)}"])
    return rows


@cache
def cost(name: str) -> tuple[str, str]:
    """Return two cells: parameters and multiply-accumulates of a row."""
    import torch

    import torch_ref
    from common.pairs import PAIRS

    with torch.device("meta"):
        net = torch_ref.build_model(name).eval()
    parameters = sum(p.numel() for p in net.parameters())
    classifier = net.state_dict()[PAIRS[name].classes_key].ndim == 2
    macs, size = macs_of(net, classifier=classifier)
    note = "" if size == (512, 1024) else f" ({size[0]}x{size[1]})"
    return f"{parameters / 1e6:.2f} M", f"{macs / 1e9:.2f} G{note}"


def aligned(figures: Mapping[str, Any] | None, say: Say) -> list[str]:
    """Return two cells: what `docs/proof/nets.py` measured of a row."""
    if figures is None:
        return [say("not measured")] * 2
    if figures["differing"]:
        return [f"**{say('not aligned')}**"] * 2
    return [f"{figures['forward']:.0e}, {figures['backward']:.0e}", f"{figures['output']:.0e}"]


def data_set_table() -> list[list[str]]:
    """Return the table of data sets: name in a config, folders, splits."""
    from common.settings.data import DATASETS

    rows = [[f"`{name}`", row.folders, row.splits] for name, row in DATASETS.items()]
    return [["`data.dataset`", "folder `data.root`", "splits"], *rows]


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


def fault_table(results: Sequence[Mapping[str, Any]], say: Say) -> list[list[str]]:
    """Return what was found of the ports that were broken on purpose, one row a stage.

    Raises ValueError where a line of docs/proof/faults.py is not understood.
    """
    head = ["stage", "broken ports:", "detected:", "blamed on exactly the right layers:"]
    rows = [[*head, "causes right:", "healthy ports:", "false alarms:"]]
    for line in next(r["found"] for r in results if r["stage"] == "faults").split("<br>"):
        match = FAULTS.fullmatch(line)
        if not match:
            raise ValueError(f"{PROOF}: not a line of docs/proof/faults.py: {line}")
        stage, broken, detected, right, causes, known, healthy, alarms = match.groups()
        cause = f"{causes} ({known})" if causes else say("not measured")
        rows.append([say(stage or "all stages"), broken, detected, right, cause, healthy, alarms])
    return rows


def proof_table(results: Sequence[Mapping[str, Any]], say: Say) -> list[list[str]]:
    """Return the other measurements; the commands of the README are one row."""
    rows = [["what", "good", "measured", "date"]]
    for result in results:
        if result["stage"] not in {"faults", "readme", "tests"}:
            found = re.sub(r", \d+ deselected| in [\d.]+s.*|^ours +", "", result["found"])
            name = NAMES.get(result["name"], result["name"])
            rows.append([say(name), say(verdict([result])), units(found, say), result["date"]])
    commands = [result for result in results if result["stage"] == "readme"]
    if commands:
        found = f"{sum(result['good'] for result in commands)} of {len(commands)}"
        oldest = min(result["date"] for result in commands)
        name = say("commands of the README and the guide")
        rows.append([name, say(verdict(commands)), units(found, say), oldest])
    return rows


def verdict(results: Sequence[Mapping[str, Any]]) -> str:
    """Return whether all are good."""
    return "yes" if all(result["good"] for result in results) else "**no**"


def units(found: str, say: Say) -> str:
    """Return a line that a stage printed, its units in the language of `say`."""
    for english, chinese in CHINESE_UNITS.items() if say is in_chinese else ():
        found = found.replace(english, chinese)
    return found.replace("|", "/").strip()


def in_english(word: str) -> str:
    """Return a cell as it is."""
    return word


def in_chinese(word: str) -> str:
    """Return a cell in Chinese where there are words for it."""
    return CHINESE.get(word, word)


def markdown(rows: Sequence[Sequence[str]], say: Say) -> str:
    """Return rows as a Markdown table; a heading that ends in a colon is aligned to the right."""
    head, *body = rows
    marks = ["---:" if name.endswith(":") else "---" for name in head]
    lines = [[say(name.rstrip(":")) for name in head], marks, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(text: str, tables: Mapping[str, str]) -> str:
    """Return a page with its tables anew.

    Raises ValueError where it lacks the two comments of a table.
    """
    for name, table in tables.items():
        start = f"<!-- {name}: written by docs/write_tables.py -->"
        end = f"<!-- end of {name} -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"no place for a table: {start} ... {end}")
        text = f"{before}{start}\n\n{table}\n\n{end}{after}"
    return text


def pages() -> dict[str, dict[str, str]]:
    """Return page -> table's name -> the table in Markdown."""
    results = json.loads(PROOF.read_text(encoding="utf-8"))["results"]
    found = {"docs/guide/train.md": {"data sets": markdown(data_set_table(), in_english)}}
    for name, say in (("README.md", in_english), ("README.zh-CN.md", in_chinese)):
        tables = {
            "models": model_table(say),
            "faults": fault_table(results, say),
            "measurements": proof_table(results, say),
        }
        found[name] = {place: markdown(rows, say) for place, rows in tables.items()}
    return found


def main() -> int:
    """Write the tables into their pages, or check that they are up to date."""
    from common.documents import write_text

    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="exit 1 if a page is stale")
    options = arguments.parse_args()
    stale = False
    for name, tables in pages().items():
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        wanted = written(text, tables)
        if not options.check:
            write_text(path, wanted)
        elif text != wanted:
            print(f"{name}: its tables are stale; run docs/write_tables.py", file=sys.stderr)
            stale = True
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
