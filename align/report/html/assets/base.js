"use strict";
/* Words, numbers, small helpers. Text reaches the page as text nodes only. */
const STRINGS = JSON.parse(document.getElementById("strings").textContent);
const DATA = JSON.parse(document.getElementById("data").textContent);
const VERDICTS = ["equal", "noise", "unchecked", "differs"];
const ROOT = document.documentElement;

function language() { return ROOT.dataset.lang === "zh" ? 1 : 0; }

function t(key, values) {
  const words = (STRINGS[key] || [key, key])[language()];
  return words.replace(/\{(\w+)\}/g, (whole, name) => values && name in values ? values[name] : whole);
}

function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (name === "on") for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    else if (name === "class") node.className = value;
    else if (value !== null && value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function value(number) {
  if (number === null || number === undefined) return null;
  if (typeof number === "number") return number;
  return { inf: Infinity, "-inf": -Infinity, nan: NaN }[number];
}

function show(number, digits = 2) {
  const found = value(number);
  if (found === null || found === undefined) return "–";
  if (Number.isNaN(found)) return "NaN";
  if (!Number.isFinite(found)) return found > 0 ? "∞" : "-∞";
  if (found === 0) return "0";
  const size = Math.abs(found);
  if (size >= 1e-3 && size < 1e5) return String(Number(found.toPrecision(digits)));
  return Number(found.toPrecision(digits)).toExponential().replace("e+", "e").replace(/e-(\d)$/, "e-0$1");
}

/* A text whose numbers are not broken across lines. */
function whole(text) {
  return String(text).split(/((?<![\w.])[-+]?\d[\d,.]*(?:e[-+]?\d+)?\b)/).map((part, i) => i % 2 ? h("span", { class: "n" }, part) : part);
}

/* A layer's name: that of what only stands for one is a word. */
function layerName(path) {
  const [, kind, number] = /^\(?(loss|optimizer|average|batch)\)?(?: (\d+))?$/.exec(path) || [];
  if (kind === "batch") return number ? `${t("named_batch")} ${number}` : path;
  return path.startsWith("(") && kind ? t("named_" + kind) : path;
}

/* A path or a file:line that breaks before its dots, the line's number never alone. */
function place(text) {
  const [, path, line] = /^(.*?)(\.\w+:\d+)?$/s.exec(String(text));
  const pieces = path.split(/(?=[./_])/).flatMap((piece) => [h("wbr"), piece]).slice(1);
  return line ? [...pieces, h("wbr"), h("span", { class: "n" }, line)] : pieces;
}

function stored(key, value) {
  try {
    if (value !== undefined) localStorage.setItem("t2p-" + key, value);
    return localStorage.getItem("t2p-" + key);
  } catch (refused) {
    return null;
  }
}

const listeners = [];
function onChange(run) { listeners.push(run); }
function changed() { for (const run of listeners) run(); }

function setLanguage(name) {
  ROOT.dataset.lang = name;
  ROOT.lang = name === "zh" ? "zh-CN" : "en";
  document.title = STRINGS.page_title[language()];
}

function setUpSwitches() {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const theme = () => stored("theme") || (dark.matches ? "dark" : "light");
  ROOT.dataset.theme = theme();
  const read = (navigator.language || "").startsWith("zh") ? "zh" : "en";
  setLanguage(stored("language") || ROOT.dataset.asked || read);
  dark.addEventListener("change", () => { ROOT.dataset.theme = theme(); changed(); });
  document.getElementById("theme").addEventListener("click", () => {
    ROOT.dataset.theme = ROOT.dataset.theme === "dark" ? "light" : "dark";
    stored("theme", ROOT.dataset.theme);
    changed();
  });
  document.getElementById("language").addEventListener("click", () => {
    setLanguage(ROOT.dataset.lang === "zh" ? "en" : "zh");
    stored("language", ROOT.dataset.lang);
    changed();
  });
  addEventListener("beforeprint", () => { ROOT.dataset.theme = "light"; changed(); });
  addEventListener("afterprint", () => { ROOT.dataset.theme = theme(); changed(); });
}

function color(name) { return getComputedStyle(ROOT).getPropertyValue("--" + name).trim(); }

/* Chips of which one is pressed; `choices` are [key, words]. */
function chips(holder, choices, chosen, choose) {
  holder.replaceChildren(...choices.map(([key, words, kind]) => h("button", {
    type: "button", class: kind || "", "aria-pressed": String(key === chosen), "data-key": key,
    on: { click: () => choose(key) },
  }, words)));
}
