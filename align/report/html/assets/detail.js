"use strict";
/* Everything about one layer: attributes, comparisons, the worst element, a histogram. */
class Detail {
  constructor(holder) {
    this.holder = holder; this.node = null; this.call = null;
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.hide(); });
    this.empty();
  }

  empty() { this.holder.replaceChildren(h("p", { class: "empty" }, t("choose_layer"))); }

  hide() {
    if (!this.holder.classList.contains("open")) return;
    this.holder.classList.remove("open");
    if (this.back) this.back.focus();
  }

  reset() { this.node = null; this.call = null; this.hide(); this.empty(); }

  show(stage, tree, node, call) {
    this.stage = stage; this.tree = tree; this.node = node;
    this.call = call !== undefined ? call : this.severest(node);
    this.back = document.activeElement;
    this.render();
    this.holder.classList.add("open");
    this.holder.scrollTop = 0;
    if (getComputedStyle(this.holder).position === "fixed") this.holder.focus();
  }

  severest(node) {
    const weight = (i) => [this.stage.calls.verdict[i], value(this.stage.calls.error[i])];
    let best = null;
    for (const i of node.calls) {
      if (best === null) { best = i; continue; }
      const [verdict, error] = weight(i), [known, largest] = weight(best);
      if (verdict > known || (verdict === known && error > largest)) best = i;
    }
    return best;
  }

  text(column, i) { const place = this.stage.calls[column][i]; return place < 0 ? "" : this.stage.texts[place][language()]; }

  render() {
    if (!this.node) { this.empty(); return; }
    const layer = this.node.layer;
    this.holder.replaceChildren(
      h("button", { type: "button", class: "close", on: { click: () => this.hide() } }, t("close")),
      h("h3", {}, ...(this.node.path === "" ? [t("root")] : place(layerName(this.node.path)))),
      ...(layer ? this.head(layer) : []),
      ...this.comparisons(),
      ...(this.call === null ? [] : this.one(this.call)),
      ...(layer ? this.attributes(layer) : []));
  }

  /* A library's layer has its own code elsewhere: the closest code around it says where it is used. */
  user(column) {
    for (let path = this.node.path; path !== "";) {
      const cut = path.lastIndexOf(".");
      path = cut < 0 ? "" : path.slice(0, cut);
      const layer = this.tree.nodes.get(path)?.layer;
      if (layer && !layer[6]) return this.source(layer[column]);
    }
    return "";
  }

  source(place) { return place < 0 ? "" : this.stage.texts[place][0]; }

  head(layer) {
    const [path, reference, theirs, ours, torchSource, paddleSource, library] = layer;
    const facts = h("dl", { class: "facts" });
    const add = (name, ...rest) => facts.append(h("dt", {}, name), h("dd", {}, ...rest));
    const code = (text) => h("code", {}, ...place(text));
    add(t("port"), ours, " ", code(this.source(paddleSource)));
    add(t("reference"), theirs, ...(reference === path ? [] : [" ", ...place(reference)]), " ", code(this.source(torchSource)));
    if (library && this.user(5)) add(t("in_code_of"), code(this.user(5)), " ", h("small", {}, code(this.user(4))));
    if (layer[8]) add("", t("layer_parameters", { n: layer[8].toLocaleString("en") }));
    return [facts];
  }

  attributes(layer) {
    const entries = Object.entries(layer[7]);
    if (!entries.length) return [];
    const same = (a, b) => a === b || Math.abs(Number(a) - Number(b)) <= 1e-6 * Math.abs(Number(a));
    entries.sort(([, a], [, b]) => Number(same(...a)) - Number(same(...b)));
    const rows = entries.map(([name, [theirs, ours]]) => h("tr", { class: same(theirs, ours) ? "" : "wrong" },
      h("td", { class: "mono" }, name), h("td", { class: "mono" }, theirs), h("td", { class: "mono" }, ours)));
    const heads = ["attribute", "reference", "port"].map((key) => h("th", {}, t(key)));
    return [h("h4", {}, t("attributes")), h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows))];
  }

  comparisons() {
    const calls = this.stage.calls, own = this.node.calls;
    if (!own.length) return [h("p", { class: "empty" }, t("no_comparisons"))];
    const sorted = [...own].sort((a, b) => calls.verdict[b] - calls.verdict[a] || a - b);
    const limit = this.all === this.node ? sorted.length : 30;
    const rows = sorted.slice(0, limit).map((i) => h("tr", {
      class: "pick", tabindex: 0, "aria-selected": String(i === this.call),
      on: { click: () => { this.call = i; this.render(); }, keydown: (event) => { if (event.key === "Enter") { this.call = i; this.render(); } } },
    },
    h("td", { class: "mono" }, ...place(this.text("where", i)), this.atOther(i)),
    h("td", { class: "cell v" + calls.verdict[i] }, t(VERDICTS[calls.verdict[i]])),
    h("td", { class: "number" }, show(calls.error[i])), h("td", { class: "number" }, show(calls.floor[i]))));
    const heads = ["tensor", "verdict", "error", "floor"].map((key, i) => h("th", { class: i > 1 ? "number" : "" }, t(key)));
    const more = sorted.length > limit
      ? [h("button", { type: "button", on: { click: () => { this.all = this.node; this.render(); } } }, t("show_more", { n: sorted.length - limit }))] : [];
    return [h("h4", {}, `${t("comparisons")} (${own.length})`), h("table", { class: "calls" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)), ...more];
  }

  atOther(i) {
    const call = this.text("call", i), own = call.slice(0, call.lastIndexOf("#"));
    return call && own !== this.node.path ? h("small", {}, " ", ...place(call)) : null;
  }

  one(i) {
    const calls = this.stage.calls, facts = h("dl", { class: "facts" });
    const add = (key, ...rest) => { if (rest.some((part) => part !== "" && part !== null)) facts.append(h("dt", {}, t(key)), h("dd", {}, ...rest.flatMap((part) => typeof part === "string" ? whole(part) : [part]))); };
    const error = value(calls.error[i]), floor = value(calls.floor[i]);
    const factor = Number.isFinite(error) && floor > 0 ? ` (${t(this.text("kind", i) === "init" ? "times_chance" : "times_floor", { n: show(error / floor) })})` : "";
    add("cause", this.text("cause", i));
    add("error", show(error), factor);
    add("floor", show(floor));
    if (calls.kind[i] >= 0 && STRINGS["kind_" + this.text("kind", i)]) add("tensor", t("kind_" + this.text("kind", i)));
    add("shape", this.text("shape", i));
    if (this.text("call", i)) add("at_call", h("span", {}, ...place(this.text("call", i))));
    if (calls.worst[i].length) add("worst_at", h("code", {}, `[${calls.worst[i].join(", ")}]`));
    if (calls.values[i][0] !== null) { add("reference_value", show(calls.values[i][0], 9)); add("port_value", show(calls.values[i][1], 9)); }
    if (Number.isFinite(error) && calls.verdict[i] !== 2) {
      const scale = value(calls.scale[i]);
      add("tolerance", scale === null ? show(error) : t("relative_absolute", { relative: show(error), absolute: show(error * (scale || 1)) }));
    }
    if (calls.added[i] !== null) add("cumulative_error", show(calls.added[i]));
    if (calls.step[i] !== null && calls.step[i] !== undefined) add("first_step", String(calls.step[i]));
    add("kernels", this.text("kernels", i));
    const bars = calls.bars[i].length ? [h("h4", {}, t("histogram")), this.bars(calls.bars[i], floor), h("p", { class: "hint" }, t("histogram_hint"))] : [];
    return [h("h4", {}, this.text("where", i)), facts, ...bars];
  }

  /* Counts by decade: exactly 0, below 1e-17, below 1e-16, ... up to 1e4. */
  bars(counts, floor) {
    const space = "http://www.w3.org/2000/svg", width = 460, height = 110, bins = 20, step = width / bins, base = 90;
    const make = (tag, props, text) => {
      const node = document.createElementNS(space, tag);
      for (const [name, found] of Object.entries(props)) node.setAttribute(name, found);
      if (text !== undefined) node.textContent = text;
      return node;
    };
    const svg = make("svg", { class: "bars", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": t("histogram") });
    const most = Math.max(...counts);
    if (floor > 0) {
      const end = Math.min(Math.max(Math.log10(floor) + 19, 1), bins);
      svg.append(make("rect", { class: "floor", x: step, y: 4, width: (end - 1) * step, height: base - 4 }));
    }
    counts.slice(0, bins).forEach((count, i) => {
      const size = count ? Math.max(2, (base - 8) * count / most) : 0;
      const bar = make("rect", { x: i * step + 2, y: base - size, width: step - 4, height: size });
      bar.append(make("title", {}, String(count)));
      svg.append(bar);
    });
    svg.append(make("text", { x: 2, y: 104 }, "0"));
    for (const power of [-16, -12, -8, -4, 0]) svg.append(make("text", { x: (power + 19) * step - 10, y: 104 }, `1e${power}`));
    return svg;
  }
}
