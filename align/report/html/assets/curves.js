"use strict";
/* Training curves of both sides and their difference. */
class Curves {
  constructor(holder, charts) {
    this.holder = holder; this.charts = charts; this.plots = [];
    new ResizeObserver(() => this.plots.forEach(([plot, box]) => plot.setSize(this.size(box)))).observe(holder);
    this.draw();
  }

  size(box) { return { width: Math.max(200, box.clientWidth - 10), height: 190 }; }

  draw() {
    this.plots.forEach(([plot]) => plot.destroy());
    this.holder.replaceChildren();
    this.plots = this.charts.map((chart) => {
      const box = h("div", { class: "curve" }, h("h3", {}, chart.prefix(), t(chart.title)));
      this.holder.append(box);
      const inks = ["forward", "bad", "soft"];
      const few = chart.x.length < 60;
      const dots = (ink, look) => few && look !== "dashed" ? { show: true, size: 6, stroke: ink, fill: ink } : { show: false };
      const options = {
        ...this.size(box),
        scales: { x: { time: false }, y: chart.log ? { distr: 3, range: [LEAST / 3, MOST * 3] } : {} },
        axes: axes(t(chart.label), !chart.log),
        legend: legend(),
        cursor: { y: false, drag: { x: false, y: false } },
        series: [{ label: "" }, ...chart.lines.map(([key, , look], i) => ({ label: t(key), ink: color(inks[i]), stroke: color(inks[i]), width: look === "dashed" ? 2 : 1.6, dash: look === "dashed" ? [5, 5] : undefined, points: dots(color(inks[i]), look) }))],
      };
      const data = [chart.x, ...chart.lines.map(([, points]) => points.map((point) => chart.log ? clip(point) : finite(point)))];
      return [new uPlot(options, data, box), box];
    });
  }
}

function finite(point) { const found = value(point); return Number.isFinite(found) ? found : null; }

function chartsOf(data) {
  const charts = [];
  const add = (title, label, x, lines, log, prefix) => {
    const kept = lines.filter(([, points]) => points && points.some((point) => point !== null && point !== undefined));
    if (kept.length) charts.push({ title, label, x, lines: kept, log, prefix });
  };
  for (const { steps, name } of data.stages) {
    if (!steps.step) continue;
    const many = data.stages.filter((stage) => stage.steps.step).length > 1;
    const prefix = () => many ? t("rung:" + name) + t("colon") : "";
    add("loss", "step", steps.step, [["loss_reference", steps.reference], ["loss_port", steps.port, "dashed"]], false, prefix);
    add("loss_difference", "step", steps.step, [["loss_difference", steps.difference], ["free_run", steps.free]], true, prefix);
    add("worst_error", "step", steps.step, [["worst_error", steps.worst]], true, prefix);
    add("learning_rate", "step", steps.step, [["learning_rate", steps.lr]], false, prefix);
    add("gradient_norm", "step", steps.step, [["gradient_norm", steps.norm]], false, prefix);
  }
  const run = data.training;
  if (run.iteration) {
    const prefix = () => run.framework + t("colon");
    add("loss", "iteration", run.iteration, [["loss", run.loss]], false, prefix);
    add("mean_iou", "iteration", run.validated, [["mean_iou", run.mean_iou]], false, prefix);
    add("learning_rate", "iteration", run.iteration, [["learning_rate", run.lr]], false, prefix);
  }
  return charts;
}
