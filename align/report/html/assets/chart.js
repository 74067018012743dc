"use strict";
/* The error of every comparison on a log axis, over the band of its floor. */
const LEAST = 1e-18, MOST = 10;
const WHOLE = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 1e6];

function clip(number) {
  const found = value(number);
  if (found === null || found === undefined) return null;
  return Number.isNaN(found) ? MOST : Math.min(Math.max(found, LEAST), MOST);
}

function decades(u, axis, low, high) {
  const ticks = [];
  for (let power = -18; power <= 1; power += u.height < 260 ? 6 : 3) ticks.push(10 ** power);
  return ticks;
}

/* A filled square for every line and every kind of point. */
function legend() {
  const ink = (u, i) => u.series[i].ink;
  return { live: false, markers: { width: 0, fill: ink } };
}

function axes(label, percents) {
  const line = { stroke: color("soft"), grid: { stroke: color("line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
  const y = percents ? {} : { splits: decades, filter: (u, splits) => splits };
  return [
    { ...line, label, labelFont: "12px system-ui", labelSize: 22, size: 30, grid: { show: false }, incrs: WHOLE },
    { ...line, ...y, size: 62, values: (u, splits) => splits.map((v) => v === null ? "" : show(!percents && v === LEAST ? 0 : v, 4)) },
  ];
}

class ErrorChart {
  constructor(holder, readout, choose) {
    this.holder = holder; this.readout = readout; this.choose = choose; this.index = null;
    new ResizeObserver(() => this.plot && this.plot.setSize(this.size())).observe(holder);
    holder.addEventListener("keydown", (event) => this.key(event));
  }

  size() {
    return { width: Math.max(200, this.holder.clientWidth - 10), height: innerWidth < 600 ? 260 : 340 };
  }

  draw(stage) {
    this.stage = stage;
    const calls = stage.calls;
    // What could not be judged has no error to draw.
    this.places = calls.verdict.map((v, i) => i).filter((i) => calls.verdict[i] === 0 || calls.verdict[i] === 3);
    const pick = (column, keep) => this.places.map((i) => keep(i) ? clip(calls[column][i]) : null);
    const backward = (i) => stage.texts[calls.where[i]][0].startsWith("grad");
    const bad = (i) => calls.verdict[i] === 3;
    const all = () => true;
    const series = [
      ["floor_band", pick("floor", all), { ink: color("band"), stroke: "transparent", fill: color("band"), fillTo: () => LEAST, width: 0, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) }],
      ["cumulative", pick("added", (i) => calls.added[i] !== null), { ink: color("added"), stroke: color("added"), width: 1.2, spanGaps: true, points: { show: false } }],
      ["forced_forward", pick("error", (i) => !bad(i) && !backward(i)), this.dots("forward", 4)],
      ["forced_backward", pick("error", (i) => !bad(i) && backward(i)), this.dots("backward", 4)],
      ["bad_points", pick("error", bad), this.dots("bad", 10)],
    ].filter(([, points]) => points.some((point) => point !== null));
    const options = {
      ...this.size(),
      scales: { x: { time: false, range: [-1, Math.max(this.places.length, 1)] }, y: { distr: 3, range: [LEAST / 3, MOST * 3] } },
      axes: axes(t("call_order")),
      legend: legend(),
      cursor: { y: false, points: { size: 9 }, drag: { x: false, y: false } },
      series: [{ label: "" }, ...series.map(([key, , look]) => ({ label: t(key), ...look }))],
      hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
    };
    if (this.plot) this.plot.destroy();
    this.plot = new uPlot(options, [this.places.map((place, i) => i), ...series.map(([, points]) => points)], this.holder);
    this.plot.over.addEventListener("click", () => this.pickCurrent());
    this.readout.textContent = "";
  }

  dots(name, size) {
    const ink = color(name);
    return { ink, stroke: ink, width: 0, paths: () => null, points: { show: true, size, stroke: ink, fill: ink, width: 0 } };
  }

  point(index) {
    if (index === null || index === undefined || index >= this.places.length) return;
    this.index = index;
    const i = this.places[index], calls = this.stage.calls, words = (column) => this.stage.texts[calls[column][i]] || ["", ""];
    const name = words("layer")[language()] || t("root");
    this.readout.textContent = `${name} ${words("where")[language()]}${t("colon")}${show(calls.error[i])}${t("comma")}${t("allowed")} ${show(calls.floor[i])}`;
  }

  pickCurrent() { if (this.index !== null) this.choose(this.places[this.index]); }

  move(index) {
    const last = this.places.length - 1;
    if (last < 0) return;
    const at = Math.min(Math.max(index, 0), last);
    this.plot.setCursor({ left: this.plot.valToPos(at, "x"), top: 10 });
    this.point(at);
  }

  key(event) {
    const now = this.index === null ? -1 : this.index;
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: this.places.length - 1 }[event.key];
    if (to !== undefined) this.move(to);
    else if (event.key === "Enter" || event.key === " ") this.pickCurrent();
    else return;
    event.preventDefault();
  }

  next() {
    const verdicts = this.places.map((i) => this.stage.calls.verdict[i]);
    const from = this.index === null ? 0 : this.index + 1;
    let found = verdicts.indexOf(3, from);
    if (found < 0) found = verdicts.indexOf(3);
    if (found >= 0) { this.move(found); this.pickCurrent(); }
  }
}
