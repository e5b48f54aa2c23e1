// SPDX-License-Identifier: Apache-2.0
// Conveniences of a page that is complete without them: entries and findings are filtered, tables are sorted, curves are
// zoomed and read.
"use strict";

const form = document.querySelector("form.filter");

function state() {
  const data = new FormData(form);
  return {
    severity: new Set(data.getAll("severity")),
    rule: data.get("rule"),
    entry: data.get("entry"),
    text: data.get("text").trim().toLowerCase(),
  };
}

function filter() {
  const wanted = state();
  let shown = 0, total = 0;
  for (const rule of document.querySelectorAll(".rule")) {
    let shownHere = 0;
    for (const row of rule.querySelectorAll(".finding")) {
      const keep = wanted.severity.has(row.dataset.severity)
        && (!wanted.rule || wanted.rule === row.dataset.rule)
        && (!wanted.entry || wanted.entry === row.dataset.entry)
        && (!wanted.text || rule.textContent.toLowerCase().includes(wanted.text));
      row.hidden = !keep;
      shownHere += keep;
      total += 1;
    }
    rule.hidden = shownHere === 0;
    shown += shownHere;
    const more = rule.querySelector(".more");
    if (more) {
      more.hidden = !more.querySelector(".finding:not([hidden])");
      more.open = !more.hidden && shownHere < 30 && (wanted.entry || wanted.text || wanted.rule);
    }
  }
  form.querySelector("output").textContent = `${shown} of ${total} shown`;
}

// The filter can be sent as a link: report.html#severity=error&rule=T102
function apply(words) {
  const wanted = new URLSearchParams(words);
  form.reset();
  const severities = wanted.getAll("severity");
  for (const box of form.querySelectorAll("[name=severity]")) box.checked = !severities.length || severities.includes(box.value);
  for (const name of ["rule", "entry", "text"]) if (wanted.has(name)) form.elements[name].value = wanted.get(name);
  filter();
  document.getElementById("findings").scrollIntoView();
}

function remember() {
  const words = new URLSearchParams();
  const boxes = [...form.querySelectorAll("[name=severity]")];
  if (boxes.some((box) => !box.checked)) for (const box of boxes) if (box.checked) words.append("severity", box.value);
  for (const name of ["rule", "entry", "text"]) if (form.elements[name].value) words.set(name, form.elements[name].value);
  history.replaceState(null, "", `#${words.size ? words : "findings"}`);
}

function applyHash() {
  const words = location.hash.slice(1);
  if (words.includes("=")) apply(words);
}

if (form) {
  form.hidden = false;
  form.addEventListener("input", () => { filter(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { filter(); remember(); }));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const link of document.querySelectorAll("[data-filter]")) {
    link.addEventListener("click", (event) => { event.preventDefault(); location.hash = link.dataset.filter; });
  }
  addEventListener("hashchange", applyHash);
  filter();
  applyHash();
}

// One search box filters the rows of all tables of entries, and the entries themselves.
const find = document.querySelector(".find");
if (document.querySelectorAll(".entry").length > 1) {
  find.hidden = false;
  find.addEventListener("input", () => {
    const words = find.querySelector("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const item of document.querySelectorAll("[data-words]")) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
    }
  });
}

// A link to an entry opens it; so does loading the page at one.
function openTarget() {
  const body = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const entry = body?.closest("details.entry");
  if (!entry) return;
  entry.open = true;
  entry.scrollIntoView();
}
addEventListener("hashchange", openTarget);
openTarget();

function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number.parseFloat(text.replaceAll(" ", ""));
  return Number.isNaN(number) || !/^[-+.\d]/.test(text) ? text : number;
}

function inOrder(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1; // what is missing comes last
  return one.localeCompare(other, undefined, { numeric: true });
}

function sort(table, column, head) {
  const descending = head.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
  rows.sort(([one], [other]) => (descending ? -1 : 1) * inOrder(one, other));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll(".sortable")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.classList.contains("plain")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, column, head));
  });
}

const DASHES = { fastest: [7, 3], slowest: [3, 2.5], unconverged: [9, 3, 2, 3], pruned: [1, 3] };

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function plot(container, data, axis) {
  const tables = data.runs.map((run) => [run[axis], run.quality]);
  const joined = uPlot.join(tables);
  const grid = { stroke: colour("grid"), width: 1 };
  const font = "12px system-ui, sans-serif";
  const line = { stroke: colour("quiet"), grid, ticks: grid, font, labelFont: font };
  const series = data.runs.map((run) => ({
    label: run.name, stroke: colour(run.kind), width: 1.5, dash: DASHES[run.kind], spanGaps: true,
    value: (_, value) => value ?? "–",
  }));
  joined.push(joined[0].map(() => data.target));
  const figure = new uPlot({
    width: container.clientWidth, height: 300, scales: { x: { time: false } },
    axes: [{ ...line, label: axis, labelSize: 20 }, { ...line, label: data.quality, size: 58, labelSize: 20 }],
    series: [{ label: axis, value: (_, value) => value?.toFixed(2) ?? "–" }, ...series,
      { label: "target", stroke: colour("target"), dash: [2, 3], points: { show: false }, value: () => data.target }],
  }, joined, container);
  // uPlot switches a line off where its legend is clicked; so do Enter and Space.
  for (const name of container.querySelectorAll(".u-legend th")) {
    name.tabIndex = 0;
    name.setAttribute("role", "button");
    name.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); name.click(); }
    });
  }
  return figure;
}

function explore(figure, button) {
  const live = figure.querySelector(".live"), still = figure.querySelector(".still");
  const on = button.getAttribute("aria-pressed") === "false";
  button.setAttribute("aria-pressed", on);
  button.textContent = on ? "Back to the picture" : "Zoom and read values";
  live.hidden = !on;
  still.hidden = on;
  live.replaceChildren();
  if (!on) return;
  const data = JSON.parse(figure.querySelector("script").textContent);
  const halves = ["epochs", "minutes"].map((axis) => [axis, live.appendChild(document.createElement("div"))]);
  for (const [axis, half] of halves) plot(half, data, axis);
}

for (const figure of document.querySelectorAll(".curves")) {
  const button = figure.querySelector(".explore");
  button.hidden = false;
  button.addEventListener("click", () => explore(figure, button));
}
