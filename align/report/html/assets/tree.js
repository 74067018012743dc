"use strict";
/* The architecture: a tree of paths, children made when they are opened. */
class Tree {
  constructor(holder, choose) {
    this.holder = holder; this.choose = choose; this.filter = ""; this.kind = "all"; this.chosen = null;
    holder.addEventListener("keydown", (event) => this.key(event));
    holder.addEventListener("click", (event) => this.click(event));
  }

  /* Nodes by path, each with its own calls and the worst verdict in and below it. */
  load(stage) {
    this.stage = stage;
    this.nodes = new Map();
    this.root = this.node("");
    stage.layers.forEach((layer) => { this.node(layer[0]).layer = layer; });
    stage.calls.layer.forEach((place, i) => this.node(place < 0 ? "" : stage.texts[place][0]).calls.push(i));
    this.sum(this.root);
    this.render();
  }

  node(path) {
    if (this.nodes.has(path)) return this.nodes.get(path);
    const cut = path.lastIndexOf(".");
    const made = { path, name: path.slice(cut + 1), children: [], calls: [], layer: null };
    this.nodes.set(path, made);
    if (path !== "") this.node(cut < 0 ? "" : path.slice(0, cut)).children.push(made);
    return made;
  }

  sum(root) {
    const order = [root];
    for (const node of order) order.push(...node.children);
    for (const node of order.reverse()) {
      node.own = -1; node.error = null;
      for (const i of node.calls) {
        const verdict = this.stage.calls.verdict[i], error = value(this.stage.calls.error[i]);
        if (verdict > node.own) { node.own = verdict; node.error = null; }
        if (verdict === node.own && (node.error === null || !(error <= node.error))) node.error = error;
      }
      node.worst = Math.max(node.own, ...node.children.map((child) => child.worst));
      node.shown = node.error;  // beside the mark of the worst in and below it stands the error of that
      if (node.worst > node.own) node.shown = null;
      for (const child of node.children) {
        if (child.worst === node.worst && child.shown !== null && !(child.shown <= node.shown && node.shown !== null)) node.shown = child.shown;
      }
    }
  }

  matches(node) {
    const name = node.path.toLowerCase(), layer = node.layer;
    const named = name.includes(this.filter) || (layer && (layer[2] + " " + layer[3]).toLowerCase().includes(this.filter));
    return named && (this.kind === "all" || (this.kind === "none" ? node.own < 0 : node.own === VERDICTS.indexOf(this.kind)));
  }

  render() {
    const filtered = this.filter !== "" || this.kind !== "all";
    this.visible = null;
    if (filtered) {
      this.visible = new Set();
      for (const node of this.nodes.values()) {
        if (!this.matches(node)) continue;
        for (let path = node.path; ;) {
          if (this.visible.has(path)) break;
          this.visible.add(path);
          if (path === "") break;
          const cut = path.lastIndexOf(".");
          path = cut < 0 ? "" : path.slice(0, cut);
        }
      }
    }
    if (filtered && !this.visible.size) {
      this.holder.replaceChildren(h("li", { class: "empty", role: "none" }, t("no_match")));
      return;
    }
    this.holder.replaceChildren(this.item(this.root, 1));
    this.open(this.holder.firstChild);
    const first = this.find(this.chosen) || this.holder.firstChild;
    this.focusable(first, false);
    if (this.chosen !== null) this.mark();
  }

  item(node, level) {
    const many = this.children(node).length > 0;
    const kinds = { role: "treeitem", "aria-level": level, tabindex: -1, "aria-selected": "false", class: node.worst >= 0 ? `v${node.own} w${node.worst}` : "" };
    if (many) kinds["aria-expanded"] = "false";
    const classes = node.layer ? node.layer[2] : "";
    const row = h("div", { class: "row" },
      h("span", { class: "caret", "aria-hidden": "true" }),
      h("span", { class: "dot d" + node.worst, role: "img", "aria-label": node.worst < 0 ? t("not_compared") : t(VERDICTS[node.worst]) }),
      h("span", { class: "label" }, node.path === "" ? t("root") : layerName(node.name), " ", h("span", { class: "class" }, classes)),
      h("span", { class: "value" }, node.worst >= 0 && node.worst !== 2 ? show(node.shown) : ""));
    const made = h("li", kinds, row);
    made.node = node;
    return made;
  }

  children(node) {
    return this.visible ? node.children.filter((child) => this.visible.has(child.path)) : node.children;
  }

  /* Open an item, and below it everything that holds trouble (or, filtered, a match). */
  open(item) {
    if (item.getAttribute("aria-expanded") !== "false") return;
    item.setAttribute("aria-expanded", "true");
    if (!item.querySelector(":scope > ul")) {
      const level = Number(item.getAttribute("aria-level")) + 1;
      const list = h("ul", { role: "group" });
      const made = this.children(item.node).map((child) => this.item(child, level));
      list.append(...made);
      item.append(list);
      for (const child of made) {
        const below = child.node.children.some((one) => this.visible ? this.visible.has(one.path) : one.worst > 1);
        if (below && (!this.visible || this.visible.size < 400)) this.open(child);
      }
    }
  }

  close(item) { if (item.hasAttribute("aria-expanded")) item.setAttribute("aria-expanded", "false"), item.querySelector(":scope > ul")?.remove(); }

  find(path) {
    if (path === null) return null;
    for (const item of this.holder.querySelectorAll("[role=treeitem]")) if (item.node.path === path) return item;
    return null;
  }

  /* Open the way down to `path` and mark it. */
  reveal(path) {
    if (this.visible && !this.visible.has(path)) { this.filter = ""; this.kind = "all"; this.onReset(); this.render(); }
    let item = this.holder.firstChild;
    const parts = path === "" ? [] : path.split(".");
    for (let i = 0; i < parts.length; i++) {
      this.open(item);
      const below = parts.slice(0, i + 1).join(".");
      const child = [...item.querySelectorAll(":scope > ul > li")].find((one) => one.node.path === below);
      if (!child) break;
      item = child;
    }
    this.chosen = item.node.path;
    this.mark();
    this.focusable(item, false);
    item.firstChild.scrollIntoView({ block: "nearest" });
  }

  mark() {
    this.holder.querySelectorAll("[aria-selected=true]").forEach((item) => item.setAttribute("aria-selected", "false"));
    this.find(this.chosen)?.setAttribute("aria-selected", "true");
  }

  focusable(item, focus) {
    this.holder.querySelectorAll("[tabindex='0']").forEach((other) => { other.tabIndex = -1; });
    item.tabIndex = 0;
    if (focus) { item.focus({ preventScroll: true }); item.firstChild.scrollIntoView({ block: "nearest" }); }
  }

  select(item) {
    this.chosen = item.node.path;
    this.mark();
    this.focusable(item, false);
    this.choose(item.node);
  }

  click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    const item = row.parentNode;
    const closed = item.getAttribute("aria-expanded") === "false";
    if (event.target.closest(".caret") && !closed) this.close(item);
    else this.open(item);
    this.select(item);
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item) return;
    const rows = [...this.holder.querySelectorAll("[role=treeitem]")], at = rows.indexOf(item);
    const go = (other) => other && this.focusable(other, true);
    const expanded = item.getAttribute("aria-expanded");
    const keys = {
      ArrowDown: () => go(rows[at + 1]), ArrowUp: () => go(rows[at - 1]), Home: () => go(rows[0]), End: () => go(rows[rows.length - 1]),
      ArrowRight: () => expanded === "false" ? this.open(item) : go(item.querySelector("[role=treeitem]")),
      ArrowLeft: () => expanded === "true" ? this.close(item) : go(item.parentNode.closest("[role=treeitem]")),
      Enter: () => this.select(item), " ": () => this.select(item),
    };
    if (!keys[event.key]) return;
    keys[event.key]();
    event.preventDefault();
  }
}
