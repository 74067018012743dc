"use strict";
/* A long table with search and filters, drawn a piece at a time. */
class LongTable {
  constructor(name, search, heads, rows, kindOf, words, draw) {
    Object.assign(this, { search, heads, rows, kindOf, words, draw, text: "", kind: "all", limit: 25 });
    this.parts = Object.fromEntries(["search", "chips", "table", "count", "more"].map((part) => [part, document.getElementById(`${name}-${part}`)]));
    this.parts.search.addEventListener("input", () => { this.text = this.parts.search.value.toLowerCase(); this.limit = 25; this.render(); });
    this.parts.more.addEventListener("click", () => { this.limit += 500; this.render(); });
    this.kinds = [...new Set(rows.map(kindOf))];
    this.render();
  }

  render() {
    const kinds = [["all", t("all")], ...this.kinds.map((kind) => [kind, `${this.words(kind)} ${this.rows.filter((row) => this.kindOf(row) === kind).length}`])];
    chips(this.parts.chips, kinds, this.kind, (kind) => { this.kind = kind; this.limit = 25; this.render(); });
    this.parts.search.placeholder = t(this.search);
    this.parts.search.setAttribute("aria-label", t(this.search));
    const found = this.rows.filter((row) => (this.kind === "all" || this.kindOf(row) === this.kind) && row.join(" ").toLowerCase().includes(this.text));
    const shown = found.slice(0, this.limit);
    this.parts.table.replaceChildren(
      h("thead", {}, h("tr", {}, ...this.heads.map((key) => h("th", {}, t(key))))),
      h("tbody", {}, ...shown.map((row) => this.draw(row))));
    this.parts.count.textContent = found.length ? t("shown_of", { n: shown.length, all: found.length }) : t("no_match");
    this.parts.more.hidden = found.length <= shown.length;
    this.parts.more.textContent = t("show_more", { n: Math.min(500, found.length - shown.length) });
  }
}

function accountTable(rows) {
  const draw = (row) => h("tr", {}, h("td", { class: "mono" }, ...place(row[0])), h("td", { class: "mono n" }, row[1]), h("td", { class: "mono" }, row[2]),
    h("td", { class: "n" }, t("change_" + row[3])), h("td", { class: "mono" }, ...place(row[4 + language()])));
  return new LongTable("account", "search_tensors", ["in_file", "shape", "dtype", "became", "in_net"], rows, (row) => row[3], (kind) => t("change_" + kind), draw);
}
