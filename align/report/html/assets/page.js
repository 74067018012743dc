"use strict";
/* Puts the parts of one run's page together. */
(function () {
  setUpSwitches();
  const at = (id) => document.getElementById(id);
  const parts = { stage: 0 };

  function names() { return DATA.stages.map((stage) => stage.name); }

  function stage() { return DATA.stages[parts.stage]; }

  function setUpLayers() {
    parts.detail = new Detail(at("detail"));
    parts.tree = new Tree(at("tree"), (node) => parts.detail.show(stage(), parts.tree, node));
    parts.chart = new ErrorChart(at("chart"), at("readout"), chooseCall);
    parts.tree.onReset = () => { at("search").value = ""; words(); };
    let waiting = 0;
    at("search").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => { parts.tree.filter = at("search").value.trim().toLowerCase(); parts.tree.render(); }, 60);
    });
    at("next").addEventListener("click", () => parts.chart.next());
    document.querySelectorAll(".go").forEach((button) => button.addEventListener("click", () => go(button)));
    document.querySelectorAll(".rung").forEach((button) => button.addEventListener("click", () => {
      chooseStage(names().indexOf(button.dataset.stage));
      at("stages").scrollIntoView();
    }));
    const bad = DATA.stages.findIndex((one) => one.exit === 1);
    const open = DATA.stages.findIndex((one) => one.exit === 2);
    const forward = DATA.stages.findIndex((one) => one.kind === "forward");
    chooseStage([bad, open, forward, 0].find((index) => index >= 0));
  }

  function chooseStage(index) {
    parts.stage = Math.max(index, 0);
    parts.tree.chosen = null;
    parts.detail.reset();
    parts.tree.load(stage());
    parts.chart.draw(stage());
    at("next").hidden = !stage().calls.verdict.includes(3);
    words();
  }

  function chooseCall(i) {
    const place = stage().calls.layer[i], path = place < 0 ? "" : stage().texts[place][0];
    parts.tree.reveal(path);
    parts.detail.show(stage(), parts.tree, parts.tree.nodes.get(path), i);
  }

  function go(button) {
    const index = Number(button.dataset.stage);
    if (index !== parts.stage) chooseStage(index);
    at("architecture").scrollIntoView();
    chooseCall(Number(button.dataset.call));
  }

  /* What has words in it is made anew when the language changes. */
  function words() {
    const counts = stage().counts;
    const kinds = [["all", t("all")], ...[3, 2, 1, 0].filter((v) => counts[v]).map((v) => [VERDICTS[v], `${t(VERDICTS[v])} ${counts[v]}`])];
    chips(at("verdicts"), kinds, parts.tree.kind, (kind) => { parts.tree.kind = kind; parts.tree.render(); words(); });
    at("search").placeholder = t("search_layers");
    at("search").setAttribute("aria-label", t("search_layers"));
    at("chart").setAttribute("aria-label", t("errors"));
    at("tree").setAttribute("aria-label", t("architecture"));
    if (at("stages")) at("stages").setAttribute("aria-label", t("ladder"));
    if (at("stages")) chips(at("stages"), DATA.stages.map((one, i) => [i, t("rung:" + one.name), "exit-" + one.exit]), parts.stage, chooseStage);
  }

  if (at("tree")) {
    setUpLayers();
    onChange(() => { words(); parts.tree.render(); parts.detail.render(); parts.chart.draw(stage()); });
  }
  if (at("curves")) {
    const curves = new Curves(at("curves"), chartsOf(DATA));
    onChange(() => curves.draw());
  }
  if (at("account-table")) {
    const table = accountTable(DATA.account);
    onChange(() => table.render());
  }
  ROOT.dataset.ready = "true";
})();
