"""Writes the tables of both READMEs and the guide that come from the code and from `make prove`.

The nets with what docs/proof/nets.py measured of them, the faults that were found, the benchmarks;
in the guide the data sets, and how memory and time of a training step grow (docs/proof/growth.py).
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
GROWTH = ROOT / "docs" / "proof" / "growth.json"
PEERS = ROOT / "docs" / "proof" / "peers.json"

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
    "memory and time of a training step by size": "训练步的内存与时间随尺寸的变化",
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
    "weights, licence": "权重来源与许可",
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
    "net": "网络",
    "days": "天",
    "hours": "小时",
    "a million pixels": "每百万像素",
    "error of the line there, time and memory": "直线在该处的误差（时间、内存）",
    "what compares": "比较工具",
    "what converts": "转换工具",
    "setting": "设置",
    "no tolerances": "无容差",
    "defaults: means, rtol 1e-7": "默认：均值，rtol 1e-7",
    "loosest, its README: strict, atol 1e-4": "最宽，其 README：逐元素，atol 1e-4",
    "the same, single step": "同上，单步模式",
    "tightest: strict, rtol 1e-7": "最严：逐元素，rtol 1e-7",
    "the best that we found: float64, strict, atol 1e-5": (
        "我们找到的最佳设置：float64，逐元素，atol 1e-5"
    ),
    "defaults: mean below 1e-6": "默认：均值低于 1e-6",
    "loosest, the guide: mean below 1e-5": "最宽，复现指南：均值低于 1e-5",
    "tightest: max below 1e-6": "最严：最大值低于 1e-6",
    "the best that we found: float64, max below 1e-5": (
        "我们找到的最佳设置：float64，最大值低于 1e-5"
    ),
    "drawn faults": "抽取的错误",
    "small faults": "微小的错误",
    "faults of gradients": "梯度的错误",
    "detected, right layer, crashes": "检出、定位正确、崩溃",
    "crashes": "次崩溃",
    "processor seconds": "处理器秒数",
    "peak MB": "峰值 MB",
    "peak MB of STDC1's forward": "STDC1 前向的峰值 MB",
    "MB on disk": "磁盘 MB",
    "nets": "网络数",
    "converts and loads": "转换并能加载",
    "same in eval mode": "eval 模式相同",
    "same in train mode": "train 模式相同",
    "same gradients": "梯度相同",
    "running means right": "滑动均值正确",
    "keeps names": "保留名称",
    "MB beside torch and Paddle": "torch 与 Paddle 之外的 MB",
    "imports without torch": "无 torch 也能导入",
    "without Paddle": "无 Paddle 也能导入",
    "no": "否",
    "no tool: both nets run": "不用工具：两个网络各运行一次",
    "this project": "本项目",
    "this project: port": "本项目：port",
    "this project: convert_graph": "本项目：convert_graph",
    "not converted": "未转换",
    "16 crops of 512x1024": "16 个 512x1024 裁剪",
    "crops that 11, 24, 40, 80 GB hold": "11、24、40、80 GB 可容纳的裁剪数",
    "60,000 iterations on one core": "60,000 次迭代，单核",
    "at 10 TFLOP/s": "按 10 TFLOP/s",
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
    rows = [[*head, "whole net", "paper", "weights, licence"]]
    for name, pair in PAIRS.items():
        source = f"[{source_name(pair.source)}]({pair.source})"
        cells = [f"`{name}`", *cost(name), *aligned(figures.get(name), say), pair.paper]
        rows.append([*cells, f"{source}, {say(pair.weights_licence)}"])
    return rows


def cost(name: str) -> tuple[str, str]:
    """Return two cells: parameters and multiply-accumulates of a row."""
    parameters, macs, size = weight_of(name)
    note = "" if size == (512, 1024) else f" ({'x'.join(map(str, size))})"
    return f"{parameters / 1e6:.2f} M", f"{macs / 1e9:.2f} G{note}"


@cache
def weight_of(name: str) -> tuple[int, int, tuple[int, ...]]:
    """Return parameters and multiply-accumulates of a row, and of which image size these are."""
    import torch

    import torch_ref
    from common.pairs import PAIRS

    with torch.device("meta"):
        net = torch_ref.build_model(name).eval().requires_grad_(False)
    parameters = sum(p.numel() for p in net.parameters())
    pair = PAIRS[name]
    classifier = pair.task == "classification"
    return (parameters, *macs_of(net, pair.default_input, classifier))


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


CROP = 512 * 1024  # pixels; the paper trains on 48 of them an iteration, 16 a card
CARDS, BESIDE = (11, 24, 40, 80), 1.5  # GB; what a card needs beside the tensors
ITERATIONS, IMAGES, OPERATIONS_A_S = 60_000, 48, 1e13


def growth_table(say: Say) -> list[list[str]]:
    """Return what docs/proof/growth.py measured, and what that says of the paper's run."""
    head = ["net", "a million pixels:", "error of the line there, time and memory:"]
    head += ["16 crops of 512x1024:", "crops that 11, 24, 40, 80 GB hold:"]
    rows = [[*head, "60,000 iterations on one core:", "at 10 TFLOP/s:"]]
    for config, found in json.loads(GROWTH.read_text(encoding="utf-8")).items():
        of_batch, of_pixel = found["bytes"]["line"]
        card_s, card_bytes = (
            found[name]["line"][0] + 16 * CROP * found[name]["line"][1]
            for name in ("seconds", "bytes")
        )
        off = [f"{100 * found[name]['off_beyond']:+.1f} %" for name in ("seconds", "bytes")]
        held = [int(((gb - BESIDE) * 1e9 - of_batch) / (of_pixel * CROP)) for gb in CARDS]
        seconds = ITERATIONS * IMAGES / 16 * card_s
        # A backward pass takes twice the forward one's operations, of which a MAC is two.
        work = ITERATIONS * IMAGES * 6 * weight_of(f"{config}_seg")[1]
        rows.append(
            [
                config.upper(),
                f"{1e6 * found['seconds']['line'][1]:.1f} s, {of_pixel / 1e3:.2f} GB",
                ", ".join(off),
                f"{card_bytes / 1e9:.1f} GB",
                ", ".join(map(str, held)),
                f"{seconds / 86400:.0f} {say('days')}",
                f"{work / OPERATIONS_A_S / 3600:.0f} {say('hours')}",
            ]
        )
    return rows


def source_name(source: str) -> str:
    """Return owner/name of a repository's address."""
    return "/".join(source.rstrip("/").split("/")[-2:])


def macs_of(net: object, own: tuple[int, ...], classifier: bool) -> tuple[int, tuple[int, ...]]:
    """Return (multiply-accumulates, image size): 224x224 for classifiers, else 512x1024.

    513x1025 for a net that takes sizes of the form 8k + 1 only, else that of its `own` input
    [N, C, H, W] or [N, C, D, H, W].
    """
    from common.errors import UserError

    for size in [(224, 224)] if classifier else [(512, 1024), (513, 1025)]:
        try:
            return count_macs(net, (1, own[1], *size)), size
        except UserError:
            continue
    return count_macs(net, (1, *own[1:])), own[2:]


def count_macs(net: object, shape: tuple[int, ...]) -> int:
    """Count multiply-accumulates of convolutions and linear layers for one input."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    assert isinstance(net, nn.Module)
    net.requires_grad_(False)  # the counter wants a graph of what does
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        image = torch.empty(shape, device="meta")
        run_detector(net, image) if hasattr(net, "roi_heads") else net(image)
    return counter.get_total_flops() // 2


PROPOSALS, FOUND = 1000, 100  # of a detector's image, the most that it takes and returns


def run_detector(net: Any, image: Any) -> None:
    """Run what a detector computes for `image` where it proposes and finds as much as it may."""
    levels, heads = net.backbone(image), net.roi_heads
    net.rpn.head(levels)
    for count, pool, head, predict in (
        (PROPOSALS, heads.box_roi_pool, heads.box_head, heads.box_predictor),
        (FOUND, heads.mask_roi_pool, heads.mask_head, heads.mask_predictor),
    ):
        predict(head(image.new_empty([count, levels[0].shape[1], *[pool.output_size] * 2])))


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


OF_PART = {"forward": "drawn faults", "small": "small faults", "backward": "faults of gradients"}


def peers_table(results: Mapping[str, Any], say: Say) -> list[list[str]]:
    """Return what benchmarks/peers.py measured of what compares, one row a setting."""
    first = next(iter(results["checks"].values()))
    broken = {row["part"]: row["broken"] for row in first}
    told = say("detected, right layer, crashes")
    parts = [f"{say(name)} ({broken.get(part, 0)}): {told}:" for part, name in OF_PART.items()]
    head = ["what compares", "setting", "false alarms:", *parts]
    rows = [[*head, "processor seconds:", "peak MB of STDC1's forward:", "MB on disk:"]]
    for name, found in results["checks"].items():
        for setting in dict.fromkeys(row["setting"] for row in found):
            own = [row for row in found if row["setting"] == setting]
            cells = {row["part"]: faults_found(row) for row in own}
            seconds, disk = sum(row["seconds"] for row in own), max(row["disk"] for row in own)
            peak = next(row["megabytes"] for row in own if row["part"] == "forward")
            told = [cells.get(part, say("not measured")) for part in OF_PART]
            told += [f"{seconds:.1f}", f"{peak:.0f}", f"{disk:.1f}"]
            rows.append([say(name), say(setting), alarms_of(own, say), *told])
    return rows


def faults_found(row: Mapping[str, Any]) -> str:
    """Return how many of one part's faults were detected, placed rightly, and crashed the tool."""
    right = str(row["right"]) if row["names_layers"] else "-"
    return f"{row['detected']}, {right}, {row['crashes']}"


def alarms_of(rows: Sequence[Mapping[str, Any]], say: Say) -> str:
    """Return how many of the healthy ports were said to differ, and how many crashed the tool."""
    counts = {
        key: sum(row[key] for row in rows) for key in ("alarms", "healthy", "crashes_healthy")
    }
    crashed = f" (+ {counts['crashes_healthy']} {say('crashes')})"
    return f"{counts['alarms']} / {counts['healthy']}{crashed if counts['crashes_healthy'] else ''}"


def peers_tables(results: Mapping[str, Any], say: Say) -> str:
    """Return the tables of the peers in Markdown: what compares, what converts, what each needs."""
    tables = peers_table, conversions_table, needs_table
    return "\n\n".join(markdown(table(results, say), say) for table in tables)


def conversions_table(results: Mapping[str, Any], say: Say) -> list[list[str]]:
    """Return what benchmarks/peers.py measured of what converts, one row a tool."""
    head = ["what converts", "nets:", "converts and loads:", "same in eval mode:"]
    head += ["same in train mode:", "same gradients:", "running means right:"]
    rows = [[*head, "keeps names:", "processor seconds:", "peak MB:"]]
    for name, nets in results["conversions"].items():
        keys = ("loads", "eval", "train", "gradients", "means", "names")
        counts = [sum(bool(net.get(key)) for net in nets) for key in keys]
        seconds = sum(net["seconds"] for net in nets)
        peak = max(net.get("megabytes", 0) for net in nets)
        cost = [f"{seconds:.0f}", f"{peak:.0f}"]
        rows.append([say(name), str(len(nets)), *map(str, counts), *cost])
    return rows


def needs_table(results: Mapping[str, Any], say: Say) -> list[list[str]]:
    """Return what benchmarks/peers.py measured of what each tool needs."""
    rows = [["what", "MB beside torch and Paddle:", "imports without torch", "without Paddle"]]
    for name, found in results["needs"].items():
        words = ["yes" if found[f"without_{key}"] else "no" for key in ("torch", "paddle")]
        rows.append([say(name), f"{found['megabytes']:.0f}", *map(say, words)])
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
    found = {
        "docs/guide/train.md": {"data sets": markdown(data_set_table(), in_english)},
        "docs/guide/distributed.md": {"growth": markdown(growth_table(in_english), in_english)},
        "docs/zh/distributed.md": {"growth": markdown(growth_table(in_chinese), in_chinese)},
    }
    for name, say in (("README.md", in_english), ("README.zh-CN.md", in_chinese)):
        tables = {
            "models": model_table(say),
            "faults": fault_table(results, say),
            "measurements": proof_table(results, say),
        }
        found[name] = {place: markdown(rows, say) for place, rows in tables.items()}
        if PEERS.exists():
            found[name]["peers"] = peers_tables(json.loads(PEERS.read_text(encoding="utf-8")), say)
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
