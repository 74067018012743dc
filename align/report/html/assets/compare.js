"use strict";
/* Two runs side by side: every layer with its error in both. */
(function () {
  setUpSwitches();
  const order = { equal: 0, noise: 1, unchecked: 2, differs: 3 };
  const cell = (verdict, error) => h("td", { class: verdict ? "cell v" + order[verdict] : "cell" },
    verdict ? `${t(verdict)} ${show(error)}` : t("not_compared"));
  const draw = ([stage, layer, status, was, before, is, after]) => h("tr", {},
    h("td", { class: "mono" }, ...(layer ? place(layerName(layer)) : [t("root")])), h("td", { class: "n" }, t("rung:" + stage)), cell(was, before), cell(is, after));
  const table = new LongTable("layers", "search_layers", ["layer", "stage", "before", "after"], DATA, (row) => row[2] || "unchanged",
    (kind) => t(kind), draw);
  onChange(() => table.render());
  ROOT.dataset.ready = "true";
})();
