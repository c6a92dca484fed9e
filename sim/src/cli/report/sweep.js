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
document.body.dataset.bars = document.querySelectorAll(".fill").length;
document.body.dataset.ready = "true";
