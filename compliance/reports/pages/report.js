// SPDX-License-Identifier: Apache-2.0
// Two conveniences over a page that is complete without them: findings are filtered, curves are zoomed and read.
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
  for (const group of document.querySelectorAll(".findings tbody")) {
    let shownHere = 0;
    for (const row of group.querySelectorAll(".finding")) {
      const keep = wanted.severity.has(row.dataset.severity)
        && (!wanted.rule || wanted.rule === row.dataset.rule)
        && (!wanted.entry || wanted.entry === group.dataset.entry)
        && (!wanted.text || row.textContent.toLowerCase().includes(wanted.text));
      row.hidden = !keep;
      shownHere += keep;
      total += 1;
    }
    group.hidden = shownHere === 0;
    shown += shownHere;
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
