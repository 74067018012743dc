"""Reports as tests of pages, JSON and JUnit need them: small, large, broken, hostile."""

import re
from html import unescape

from align.judge.comparison import DIFFERS, EQUAL, UNCHECKED, Comparison
from align.judge.words import Cause
from align.report.report import Divergence, Layer, Report
from align.report.run import Run

# What keeps a number whole and lets a path break: no part of what is said.
BREAKS = re.compile(r'<wbr>|<span class="n">([^<]*)</span>')
HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror="alert(1)">\x00'


def said(page):
    """Return a page's text without the marks of where its lines may break."""
    return unescape(BREAKS.sub(r"\1", page))


def comparison(layer, where="output:0", verdict=EQUAL, error=1e-16, **rest):
    return Comparison(
        layer,
        f"{layer}#0",
        where,
        "layer",
        (2, 3),
        verdict,
        error,
        1e-14,
        worst_index=(1, 2),
        reference_value=1.0,
        port_value=1.0 + error,
        scale=2.0,
        histogram=[3, 0, 5, 1],
        **rest,
    )


def small(*wrong, stage="forward"):
    """Return a report of a net with five layers; those of `wrong` differ by 0.5."""
    report = Report(stage, settings={"model": "toy", "seed": 3})
    for path in ("", "stem", "body", "body.conv", "body.norm"):
        report.layers[path] = Layer(
            path,
            "Conv2d",
            "Conv2D",
            "/x/site-packages/torch/conv.py:7" if path else "net.py:1",
            "/x/site-packages/paddle/conv.py:9" if path else "port.py:2",
            {"stride": ((1, 1), (2, 2)), "groups": (1, 1)},
            12,
        )
        report.calls.append(comparison(path, "input:0"))
        bad = path in wrong
        cause = Cause("attribute", name="stride", port=(2, 2), reference=(1, 1)) if bad else None
        error, verdict = (0.5, DIFFERS) if bad else (1e-16, EQUAL)
        report.calls.append(comparison(path, verdict=verdict, error=error, cause=cause))
        if bad:
            report.divergences.append(Divergence(path, "output:0", 0.5, 1e-14, cause=cause))
    return report


def large(layers=500, wrong_every=170):
    """Return a report of four comparisons a layer."""
    report = Report("forward", settings={"model": "large"})
    for number in range(layers):
        path = f"stage{number // 100}.block{number // 10 % 10}.conv{number % 10}"
        report.layers[path] = Layer(path, "Conv2d", "Conv2D")
        for where in ("input:0", "output:0", "grad_input:0", "grad:weight"):
            report.calls.append(comparison(path, where))
        if number % wrong_every == 9:
            report.calls[-3].verdict, report.calls[-3].relative_error = DIFFERS, 1e-6
            report.divergences.append(Divergence(path, "output:0", 1e-6, 1e-14))
    return report


def hostile():
    """Return a run in which every text is markup and errors are NaN and infinite."""
    report = Report("forward", settings={"model": HOSTILE, HOSTILE: HOSTILE}, notes=[HOSTILE])
    report.layers[HOSTILE] = Layer(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, {HOSTILE: (HOSTILE, HOSTILE)}
    )
    report.calls = [
        comparison(HOSTILE, HOSTILE, DIFFERS, float("nan"), cause=HOSTILE, kernels=[HOSTILE]),
        comparison("a.c", "output:0", DIFFERS, float("inf"), cause="shape [1], the reference"),
        comparison("a.b", "output:0", UNCHECKED, cause=HOSTILE),
    ]
    report.divergences = [Divergence(HOSTILE, HOSTILE, float("nan"), 1e-14, cause=HOSTILE)]
    run = Run.of(report)
    row = {"key": HOSTILE, "shape": [1], "dtype": HOSTILE, "became": "dropped", "reason": HOSTILE}
    run.account = {"source_tensors": [row], "target_tensors": [], "notes": [HOSTILE]}
    return run


def ladder():
    """Return a run of several stages with an account and two trainings, as `reproduce` has it."""
    run = Run("stdc toy")
    forward, backward = small("stem"), small(stage="backward")
    training = small(stage="training")
    training.settings["steps"] = [
        {"step": step, "loss": 2.0 - step / 10, "lr": 0.1, "gradient_norm": 1.5, "worst": 1e-15}
        for step in range(3)
    ]
    training.settings["free_run"] = [0.0, 1e-9, 1e-7]
    training.calls += [comparison("", "loss", step=step) for step in range(3)]
    run.add(forward, "forward, eval", 1.25)
    run.add(backward, "backward", 2.5)
    run.add(training, "training", 3.0)
    rows = [
        {
            "key": f"w{n}",
            "shape": [n, 2],
            "dtype": "float32",
            "became": "transposed" if n % 2 else "copied",
            "to": f"v{n}",
            "also": [],
        }
        for n in range(150)
    ]
    run.account = {"source_tensors": rows, "target_tensors": []}
    log = [{"iteration": n, "loss": 1.0 / n, "lr": 0.01} for n in range(1, 9)]
    run.training = {
        "framework": "Paddle",
        "log": [*log, {"iteration": 8, "mean_iou": 0.4, "iou": {}}],
    }
    return run


RUNS = {
    "healthy": lambda: Run.of(small()),
    "broken": lambda: Run.of(small("stem", "body.conv")),
    "empty": lambda: Run.of(Report("forward")),
    "hostile and NaN": hostile,
    "ladder": ladder,
}
