const failures = data.failures;
function head() {
  byId("title").textContent = "Sweep of " + plural(data.seeds, "seed") + " from " + data.first;
  const headline = document.querySelector(".headline");
  headline.append(el("span", failures.length ? "badge bad" : "badge good",
    failures.length ? plural(failures.length, "failing seed") : "no breach of the contract"));
  if (data.interrupted) headline.append(el("span", "badge", "interrupted"));
  if (data.planted) headline.append(el("span", "badge", "planted bug: " + data.planted));
  byId("facts").textContent = [data.seconds.toFixed(1) + " s", count(data.run_twice) + " run twice and compared",
    "digest " + data.digest, "slowest seed " + data.slowest[0] + " (" + data.slowest[1] + " ms)"].join(" · ");
  const crashes = Object.values(data.crashes).reduce((sum, n) => sum + n, 0);
  const injected = Object.values(data.faults).reduce((sum, [, n]) => sum + n, 0);
  for (const [name, value] of [["seeds a second", Math.round(data.seeds / Math.max(data.seconds, 1e-9))],
    ["operations", data.operations], ["crashes", crashes], ["faults injected", injected],
    ["openings", data.openings], ["openings refused, rightly", data.refusals]]) {
    byId("figures").append(el("div", "panel figure", el("div", "value", count(value)), el("div", "name", name)));
  }
}

function listFailures() {
  if (!failures.length) { byId("failing").remove(); return; }
  const rest = el("details", "", el("summary", "", plural(failures.length - 4, "more")));
  failures.forEach((failure, at) => {
    (at < 4 ? byId("failures") : rest).append(el("div", "failure",
      el("p", "", "seed " + failure.seed + " breaks ", el("span", "clause", failure.clause), " at operation " + failure.op + ": " + failure.message),
      el("p", "", el("code", "", failure.report)), el("p", "", el("code", "", failure.shrink))));
  });
  if (failures.length > 4) byId("failures").append(rest);
}

const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function rate() {
  const width = 1340, height = 150, left = 52, bottom = 20, top = 8;
  const intervals = data.finished, wide = data.seconds / intervals.length;
  const rates = intervals.map(([seeds]) => seeds / Math.max(wide, 1e-9));
  const most = Math.max(...rates, 1);
  // A round number above the greatest rate.
  const unit = 10 ** Math.floor(Math.log10(most));
  const scale = Math.ceil(most / unit) * unit;
  const svg = shape("svg", { viewBox: "0 0 " + width + " " + height, preserveAspectRatio: "none", role: "img", "aria-label": "Seeds a second over the time of the sweep" });
  const x = (n) => left + (n / intervals.length) * (width - left - 4);
  const y = (value) => top + (1 - value / scale) * (height - top - bottom);
  for (const part of [0, 0.5, 1]) {
    svg.append(shape("line", { x1: left, x2: width, y1: y(scale * part), y2: y(scale * part), stroke: "var(--line)" }));
    svg.append(shape("text", { x: left - 6, y: y(scale * part) + 4, "text-anchor": "end" }, count(Math.round(scale * part))));
  }
  rates.forEach((value, n) => {
    const bar = shape("rect", { x: x(n), y: y(value), width: Math.max(1, x(1) - x(0) - 1.5), height: Math.max(0, y(0) - y(value)), fill: intervals[n][1] ? "var(--crash)" : "var(--recover)", opacity: 0.85, rx: 1 });
    bar.append(shape("title", {}, plural(intervals[n][0], "seed") + " in " + wide.toFixed(2) + " s" + (intervals[n][1] ? ", " + intervals[n][1] + " failed" : "")));
    svg.append(bar);
  });
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    svg.append(shape("text", { x: x(intervals.length * part), y: height - 4, "text-anchor": part === 0 ? "start" : part === 1 ? "end" : "middle" }, (data.seconds * part).toFixed(1) + " s"));
  }
  byId("rate").append(svg);
}

// Rows of [name, length of the bar from 0 to 1, what stands behind it, its title].
function bars(rows, kind) {
  const box = el("div", "bars");
  for (const [name, share, text, title] of rows) {
    const fill = el("div", "fill " + (kind || ""));
    fill.style.width = 100 * share + "%";
    const track = el("div", "track", share > 0 ? fill : null);
    track.title = title || name + ": " + text;
    box.append(el("span", "", name), track, el("span", "num" + (share > 0 ? "" : " zero"), text));
  }
  return box;
}
function counts(record) {
  const most = Math.max(...Object.values(record), 1);
  return Object.entries(record).sort((a, b) => b[1] - a[1]).map(([name, n]) => [name, n / most, count(n)]);
}
// Faults span five orders of magnitude: the bars are logarithmic, the figures are not.
function faults() {
  const entries = Object.entries(data.faults).sort((a, b) => b[1][1] - a[1][1]);
  const most = Math.max(...entries.map(([, [reached]]) => reached), 2);
  return entries.map(([name, [reached, injected]]) => [name, injected ? Math.log(injected + 1) / Math.log(most + 1) : 0,
    reached ? count(injected) + " of " + count(reached) : count(injected) + ", after another",
    name + ": injected into " + count(injected) + " of " + count(reached) + " calls that a plan gave it odds for"]);
}

// One square for each position; its colour is the logarithm of how often the cell was activated.
function square(kind, heat) {
  const square = el("span", "cell " + kind);
  if (kind === "hit") square.style.setProperty("--heat", Math.round(15 + 85 * heat) + "%");
  return square;
}
function ledger() {
  const { hazards, rows, summary, last_position: positions } = data.ledger;
  const most = Math.max(1, ...rows.flatMap(([, cells]) => cells.map((cell) => cell[4])));
  const kindOf = ([, , , reached, activated]) => activated ? "hit" : reached ? "vain" : "never";
  const ofKinds = (cells) => {
    const n = { hit: 0, vain: 0, never: 0 };
    for (const cell of cells) n[kindOf(cell)] += 1;
    return count(n.hit) + " activated, " + count(n.vain) + " reached in vain, " + count(n.never) + " never possible";
  };
  const box = byId("ledger");
  box.append(el("div", "", count(summary.sites) + " sites, " + count(summary.cells) + " cells: " + ofKinds(rows.flatMap(([, cells]) => cells))));
  box.append(el("div", "facts", "A row is a kind of call on a kind of file, in a phase of the engine. Its squares are the first, second and third such call of an operation, and all later ones. Each says its figures when pointed at."));
  box.append(el("div", "legend", el("span", "", square("hit", 0), square("hit", 0.5), square("hit", 1), " activated, 1 to " + count(most) + " times"),
    el("span", "", square("vain"), " empty: reached, and never activated"), el("span", "", square("never"), " empty: no seed gave it odds")));
  const table = el("table", "ledger", el("thead", "", el("tr", "", el("th", "", "call"), el("th", "", "file"),
    ...hazards.map((name) => el("th", "", el("span", "", name))))));
  const phases = [];
  for (const row of rows) {
    if (phases.length === 0 || phases.at(-1)[0] !== row[0][0]) phases.push([row[0][0], []]);
    phases.at(-1)[1].push(row);
  }
  for (const [phase, rowsOf] of phases) {
    const heading = el("th", "phase", phase + " ", el("span", "", ofKinds(rowsOf.flatMap(([, cells]) => cells))));
    heading.colSpan = hazards.length + 2;
    const body = el("tbody", "", el("tr", "", heading));
    for (const [[, call, file], cells] of rowsOf) {
      const line = el("tr", "", el("td", "", call), el("td", "", file));
      const last = Math.max(...cells.map((cell) => cell[1]));
      hazards.forEach((hazard, number) => {
        const box = el("td", "cells");
        const here = cells.filter((cell) => cell[0] === number);
        for (let nth = 1; nth <= last && here.length; nth += 1) {
          const cell = here.find((cell) => cell[1] === nth);
          const node = cell ? square(kindOf(cell), Math.log(cell[4]) / Math.log(Math.max(most, 2))) : square("none");
          if (cell) node.title = phase + ", " + call + " of " + file + ", position " + nth + (nth === positions ? " or later" : "") + ", " + hazard
            + ": activated " + count(cell[4]) + " of " + count(cell[3]) + " reached, " + plural(cell[2], "call");
          box.append(node);
        }
        line.append(box);
      });
      body.append(line);
    }
    table.append(body);
  }
  box.append(el("div", "scroll", table));
  document.body.dataset.cells = table.querySelectorAll(".cell:not(.none)").length;
  document.body.dataset.empty = table.querySelectorAll(".cell.vain, .cell.never").length;
}
function marks() {
  const { cycles, marks, marks_reached: reached, marks_unreached: unreached, marks_excepted: excepted } = data.ledger;
  const list = (names) => el("ul", "", ...names.map(([name, reason]) => el("li", "", el("code", "", name), reason ? ": " + reason : "")));
  const box = byId("marks");
  box.append(el("div", "", count(reached) + " of " + plural(marks, "mark") + " reached, in " + plural(cycles, "cycle") + " of crash and recovery."));
  const missed = el("details", "", el("summary", "", count(unreached.length) + " not reached by this sweep"), list(unreached.map((name) => [name])));
  if (unreached.length) box.append(missed);
  box.append(el("details", "", el("summary", "", count(excepted.length) + " exceptions: no simulation reaches them, and why"), list(excepted)));
}

head();
listFailures();
rate();
byId("crashes").append(bars(counts(data.crashes)));
byId("faults").append(bars(faults(), "fault"));
byId("faults").append(el("p", "facts", "The bars are logarithmic."));
byId("worlds").append(bars(counts(data.worlds)));
const zero = (record) => Object.entries(record).filter(([, n]) => n === 0).map(([name]) => name);
const never = [...zero(data.crashes), ...zero(data.worlds), ...data.faults_absent,
  ...Object.entries(data.faults).filter(([, [, injected]]) => injected === 0).map(([name]) => name)];
for (const name of never) byId("absent").append(el("span", "chip", name));
if (!never.length) byId("absent").append("Everything that is counted here was exercised.");
byId("events").append(...counts(data.events).map(([name, ...row]) => bars([[name.replaceAll("_", " "), ...row]])));
ledger();
marks();
document.body.dataset.bars = document.querySelectorAll(".fill").length;
document.body.dataset.ready = "true";
