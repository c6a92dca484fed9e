// ---- the data: events [kind, number, text]; steps [event, changes]; changes
// [file, durable, size or null, [[offset, hex], ...]] ----
const events = data.events;
const files = data.files;
const steps = data.steps;
const lastOf = (list) => list[list.length - 1];

// ---- the images at an event: applied step by step, from snapshots on the way ----
const SNAPSHOT_EVERY = 256;
const bytesOf = (hex) => {
  const bytes = new Uint8Array(hex.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.substr(2 * i, 2), 16);
  return bytes;
};
// An image is a map from "file:side" to bytes; maps share the bytes that did not change.
function applied(image, step) {
  const next = new Map(image);
  for (const [file, durable, size, patches] of step[1]) {
    const key = file + ":" + durable;
    if (size === null) { next.delete(key); continue; }
    const bytes = new Uint8Array(size);
    const old = next.get(key);
    if (old) bytes.set(old.subarray(0, Math.min(old.length, size)));
    for (const [offset, hex] of patches) bytes.set(bytesOf(hex), offset);
    next.set(key, bytes);
  }
  return next;
}
const snapshots = [new Map()];
let building = new Map();
steps.forEach((step, at) => {
  building = applied(building, step);
  if ((at + 1) % SNAPSHOT_EVERY === 0) snapshots.push(building);
});
// How many steps belong to events up to and including this one.
function stepsUntil(event) {
  let low = 0, high = steps.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle][0] <= event) low = middle + 1; else high = middle;
  }
  return low;
}
function imageAt(event) {
  const end = stepsUntil(event);
  const snapshot = Math.floor(end / SNAPSHOT_EVERY);
  let image = snapshots[snapshot];
  for (let at = snapshot * SNAPSHOT_EVERY; at < end; at++) image = applied(image, steps[at]);
  return image;
}
// What the event itself changed: "file:side" to a list of [from, to].
function touchedBy(event) {
  const touched = new Map();
  for (let at = stepsUntil(event - 1); at < steps.length && steps[at][0] === event; at++) {
    for (const [file, durable, , patches] of steps[at][1]) {
      const key = file + ":" + durable;
      if (!touched.has(key)) touched.set(key, []);
      for (const [offset, hex] of patches) touched.get(key).push([offset, offset + hex.length / 2]);
    }
  }
  return touched;
}

// ---- what the bytes mean ----
const CRC = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
function crc32(bytes, seed = 0) {
  let crc = ~seed;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const u64 = (bytes, at) => Number(view(bytes).getBigUint64(at, true));
const u32 = (bytes, at) => view(bytes).getUint32(at, true);
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const ascii = (bytes) => Array.from(bytes, (b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : "·")).join("");
const isZero = (bytes) => bytes.every((byte) => byte === 0);
const startsWith = (bytes, magic) => ascii(bytes.subarray(0, magic.length)) === magic;
const TAGS = { 1: "kv", 2: "event", 3: "state", 4: "trace", 5: "run", 6: "vector" };
const KINDS = { 1: "commit", 2: "watermark", 3: "clock floor", 4: "padding" };

// The changes of a commit, in words; null where the bytes make none.
function changesOf(payload) {
  let at = 0;
  const byte = () => { if (at >= payload.length) throw new RangeError(); return payload[at++]; };
  const varint = () => {
    let n = 0, scale = 1;
    for (;;) { const b = byte(); n += (b & 127) * scale; scale *= 128; if (b < 128) return n; }
  };
  const take = (n) => { if (at + n > payload.length) throw new RangeError(); at += n; return payload.subarray(at - n, at); };
  const words = [];
  let run = "";
  try {
    while (at < payload.length) {
      const op = byte();
      if (!(op & 128)) run = hexOf(take(16));
      const shown = run.slice(0, 4) + "…" + run.slice(-4);
      const key = () => { byte(); return "“" + ascii(take(varint())) + "”"; };
      switch (op & 127) {
        case 1: case 2: {
          const name = key();
          byte();
          const size = take(varint()).length;
          words.push("put " + name + " " + size + " B" + ((op & 127) === 2 ? ", expires at " + varint() : "") + " (run " + shown + ")");
          break;
        }
        case 3: words.push("delete " + key() + " (run " + shown + ")"); break;
        case 4: take(varint()); words.push("begin run " + shown); break;
        case 5: byte(); words.push("end run " + shown); break;
        default: return null;
      }
    }
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
  return words;
}

// The parts of a file: [from, to, "intact" | "broken" | "plain", title, in words].
function sectionsOf(bytes) {
  const sections = [];
  const rest = (at, why) => {
    if (at >= bytes.length) return;
    const tail = bytes.subarray(at);
    sections.push(isZero(tail)
      ? [at, bytes.length, "plain", "zeros, " + tail.length + " B", ""]
      : [at, bytes.length, "broken", why, tail.length + " B that are no intact record"]);
  };
  if (startsWith(bytes, "RUNSTLOG") && bytes.length >= 72) {
    const good = u32(bytes, 64) === crc32(bytes.subarray(0, 64));
    sections.push([0, 72, good ? "intact" : "broken", "segment " + u64(bytes, 48),
      "epoch " + u64(bytes, 56) + ", salt " + hexOf(bytes.subarray(32, 40)) + "…" + (good ? "" : ", its checksum does not match")]);
    const seal = crc32(bytes.subarray(16, 48));
    let at = 72;
    while (at + 40 <= bytes.length) {
      const length = u32(bytes, at + 4);
      const total = Math.ceil((33 + length) / 8) * 8;
      const kind = KINDS[bytes[at + 32]];
      if (!kind || at + total > bytes.length) return rest(at, "no record begins here"), sections;
      const offset = new Uint8Array(8);
      view(offset).setBigUint64(0, BigInt(at), true);
      const found = crc32(bytes.subarray(at + 4, at + total), crc32(offset, seal));
      if (found !== u32(bytes, at)) return rest(at, "torn " + kind + ": its checksum does not match"), sections;
      const changes = kind === "commit" ? changesOf(bytes.subarray(at + 33, at + 33 + length)) : null;
      sections.push([at, at + total, "intact",
        kind + (kind === "commit" ? " " + u64(bytes, at + 8) : " after version " + u64(bytes, at + 8)),
        (changes ? changes.join("; ") + "; " : "") + "time " + u64(bytes, at + 16) + ", synced to " + u64(bytes, at + 24)]);
      at += total;
    }
    rest(at, "too short for a record");
    return sections;
  }
  if (startsWith(bytes, "RUNSTMAN") && bytes.length >= 64) {
    const length = u32(bytes, 12), end = 24 + length;
    const body = bytes.subarray(24, end);
    const good = end <= bytes.length && u32(bytes, 16) === crc32(body, crc32(bytes.subarray(0, 16)));
    sections.push([0, 24, good ? "intact" : "broken", "manifest frame", length + " B of body" + (good ? "" : ", its checksum does not match")]);
    if (body.length < 40) return rest(24, "a cut manifest"), sections;
    sections.push([24, 64, good ? "intact" : "broken", "manifest, epoch " + u64(body, 16),
      "next file " + u64(body, 24) + (u32(body, 32) ? ", closed cleanly" : ", not closed") + ", " + plural(u32(body, 36), "segment")]);
    for (let at = 40; at + 40 <= body.length; at += 40) {
      sections.push([24 + at, 64 + at, good ? "intact" : "broken", "names segment " + u64(body, at),
        "attested " + u64(body, at + 24) + " B" + (u32(body, at + 32) ? ", records may follow" : ", closed")]);
    }
    rest(Math.min(end, bytes.length), "behind the manifest");
    return sections;
  }
  if (startsWith(bytes, "RUNSTLCK") && bytes.length >= 40) {
    const good = u32(bytes, 32) === crc32(bytes.subarray(0, 32));
    sections.push([0, 40, good ? "intact" : "broken", "lock file",
      "store " + hexOf(bytes.subarray(16, 32)) + (good ? "" : ", its checksum does not match")]);
    rest(40, "behind the lock file");
    return sections;
  }
  rest(0, "bytes");
  return sections;
}

// ---- hexadecimal rows ----
const inRanges = (ranges, at) => ranges.some(([from, to]) => at >= from && at < to);
function hexRows(bytes, from, to, other, ranges, limit) {
  const hex = el("div", "hex");
  let shown = 0;
  for (let row = from - (from % 16); row < to; row += 16) {
    if (shown++ >= limit) {
      const more = el("button", "", "… " + count(Math.ceil((to - row) / 16)) + " more rows");
      more.onclick = (event) => { event.stopPropagation(); more.replaceWith(hexRows(bytes, row, to, other, ranges, Infinity)); };
      hex.append(more);
      return hex;
    }
    const line = el("div", "", el("span", "off", row.toString(16).padStart(5, "0") + " "));
    let run = "", kind = "";
    const flush = () => { if (run) line.append(kind ? el("span", kind, run) : run); run = ""; };
    for (let at = row; at < row + 16; at++) {
      const inside = at >= from && at < to;
      const now = !inside ? "" : inRanges(ranges, at) ? "c" : other && other[at] === bytes[at] ? "" : "d";
      if (now !== kind) { flush(); kind = now; }
      run += (inside ? bytes[at].toString(16).padStart(2, "0") : "  ") + " ";
    }
    flush();
    kind = "";
    const low = Math.max(row, from), high = Math.min(row + 16, to);
    line.append(" " + " ".repeat(low - row) + ascii(bytes.subarray(low, high)));
    hex.append(line);
  }
  return hex;
}

// One side of a file: its parts, open where something differs or has just changed.
function side(bytes, other, ranges) {
  if (!bytes) return el("div", "none", "not there");
  if (!bytes.length) return el("div", "none", "empty");
  const box = el("div");
  for (const [from, to, state, title, words] of sectionsOf(bytes)) {
    let differs = !other;
    for (let at = from; at < to && !differs; at++) differs = other[at] !== bytes[at];
    const changed = ranges.some(([low, high]) => low < to && high > from);
    const section = el("div", "section " + state,
      el("div", "head", el("b", "", title), "  @" + from + ", " + (to - from) + " B"));
    if (words) section.append(el("div", "what", words));
    let rows = null;
    const toggle = () => {
      if (rows) { rows.remove(); rows = null; return; }
      rows = hexRows(bytes, from, to, other, ranges, 12);
      section.append(rows);
    };
    section.firstChild.onclick = toggle;
    if (changed || (differs && state !== "plain")) toggle();
    box.append(section);
  }
  return box;
}

// ---- the page ----
let cursor = 0, file = -1, chosenByHand = false;
const isRead = (event) => event[0] === "call" && /^(read|open|open_dir|stat|len|list|lock) /.test(event[2]);
const isSync = (event) => event[0] === "call" && /^sync/.test(event[2]);
// That something is not there is an answer, and no failure.
const hasFailed = (event) => event[0] === "call" && / -> error/.test(event[2]) && !/error: entity not found$/.test(event[2]);
const isName = (event) => event[0] === "call" && /^(create|rename|link|remove)/.test(event[2]);
const crashes = events.flatMap((event, at) => (event[0] === "crash" ? [at] : []));

function head() {
  const failure = data.failure;
  byId("title").textContent = "Seed " + data.seed;
  const headline = document.querySelector(".headline");
  headline.append(
    el("span", failure ? "badge bad" : "badge good", failure ? "breach of " + failure.clause + " at operation " + failure.op : "no breach"),
    el("span", "badge", "world: " + data.world));
  if (data.planted) headline.append(el("span", "badge", "planted bug: " + data.planted));
  const made = (kind) => events.filter((event) => event[0] === kind).length;
  byId("facts").append(
    [plural(made("op"), "operation"), plural(made("call"), "file-system call"), plural(crashes.length, "crash", "crashes"),
      plural(data.openings, "opening"), plural(data.faults.length, "fault"), "digest " + data.digest].join(" · "),
    el("br"), "repeat: ", el("code", "", data.replay));
  const difference = byId("difference");
  if (failure) {
    byId("difference-card").classList.add("bad");
    difference.append(
      el("p", "", el("span", "clause", failure.clause), " at operation " + failure.op),
      el("p", "", failure.message),
      el("p", "", "make it small: ", el("code", "", data.shrink)));
  } else {
    difference.append(el("p", "", data.refusals
      ? "None. The store refused to open with a typed error, which is right in this world."
      : "None: at every read and after every crash the database showed what the model permits."));
  }
  byId("case-body").append(el("pre", "", JSON.stringify(data.case, null, 1)));
}

// Operations and calls in few words; the whole text is in the row's title.
const shortPath = (text) => text.replaceAll("/data/store/", "").replaceAll("/data/store", "(store)");
function shortChange(text) {
  const run = (text.match(/run: (\d+)/) || [])[1], key = (text.match(/key: (\d+)/) || [])[1];
  const size = (text.match(/size: (\d+)/) || [])[1], ttl = (text.match(/ttl_ms: Some\((\d+)\)/) || [])[1];
  const what = (text.match(/^(\w+)/) || [])[1].toLowerCase();
  return what + " run " + run + (key === undefined ? "" : " key " + key) +
    (what === "put" || what === "tagged" ? (size === undefined ? "" : ", " + size + " B") : "") + (ttl === undefined ? "" : ", ttl " + ttl + " ms");
}
function shortOp(text) {
  const level = (text.match(/level: (\w+) \}$/) || [])[1];
  const suffix = level && level !== "Default" ? " · " + level.toLowerCase() : "";
  const single = text.match(/^Write \{ change: (.*), level/);
  if (single) return shortChange(single[1]) + suffix;
  const many = text.match(/^(Batch|Submit) \{ changes: \[(.*)\], level/);
  if (many) {
    const changes = many[2].match(/(Put|Delete|Tagged|Begin|End) \{/g) || [];
    return many[1].toLowerCase() + " of " + changes.length + ": " + (many[2].split(/, (?=(?:Put|Delete|Tagged|Begin|End) \{)/).filter(Boolean).map(shortChange).join("; ") || "nothing") + suffix;
  }
  const crash = text.match(/^Crash \{ after_calls: (\d+), when: (\w+), kind: (\w+)/);
  if (crash) return "crash: " + crash[3].toLowerCase() + (crash[1] === "0" ? ", now" : ", " + crash[2].toLowerCase() + " the call after " + crash[1] + " more");
  const fault = text.match(/^Fault \{ after_calls: (\d+), fault: Fault \{ kind: (\w+)/);
  if (fault) return "fault: " + fault[2] + " after " + fault[1] + " more calls";
  return text.replace(/^(\w)/, (c) => c.toLowerCase()).replace(/ \{ (.*) \}$/, " $1");
}

// The list: one row for each event; rows of reads are hidden unless asked for.
const rows = [];
function list() {
  const box = byId("events");
  const addBreach = () => {
    if (data.failure) box.append(el("div", "breach", "BREACH of " + data.failure.clause + ": " + data.failure.message));
  };
  events.forEach((event, at) => {
    const [kind, number, text] = event;
    const first = text.split("\n")[0];
    const shown = kind === "op" ? "[" + number + "] " + shortOp(first) : kind === "call" ? "#" + number + " " + shortPath(first)
      : kind === "strike" ? "⚡ " + first : kind === "crash" ? "  what it left" : first;
    const extra = hasFailed(event) ? " failed" : isSync(event) ? " sync" : isRead(event) ? " read" : "";
    const row = el("div", kind + extra, shown);
    row.title = text;
    row.onclick = () => go(at);
    if (isRead(event) && !hasFailed(event)) row.hidden = true;
    rows.push(row);
    box.append(row);
  });
  addBreach();
  byId("show-reads").onchange = (event) => {
    events.forEach((entry, at) => { if (isRead(entry) && !hasFailed(entry)) rows[at].hidden = !event.target.checked; });
  };
}

// ---- the time line ----
const LANES = [["operations", "--op"], ["writes", "--write"], ["syncs", "--sync"], ["names", "--name"], ["reads", "--read"]];
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function laneOf(event) {
  if (event[0] === "op") return 0;
  if (event[0] !== "call") return -1;
  return isSync(event) ? 2 : isName(event) ? 3 : isRead(event) ? 4 : 1;
}
const LEFT = 78;
const xOf = (at, width) => LEFT + ((at + 0.5) / Math.max(events.length, 1)) * (width - LEFT - 4);
function draw() {
  const canvas = byId("lanes");
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  const lane = (height - 4) / LANES.length;
  pen.font = "11px system-ui, sans-serif";
  pen.textBaseline = "middle";
  // Recoveries: from a restart to the opening.
  pen.fillStyle = colour("--recover");
  pen.globalAlpha = 0.14;
  let restarted = null;
  events.forEach((event, at) => {
    if (event[0] === "restart") restarted = restarted === null ? at : restarted;
    if (event[0] === "opened" && restarted !== null) {
      pen.fillRect(xOf(restarted, width), 0, Math.max(2, xOf(at, width) - xOf(restarted, width)), height);
      restarted = null;
    }
  });
  pen.globalAlpha = 1;
  LANES.forEach(([name], n) => {
    pen.fillStyle = colour("--dim");
    pen.fillText(name, 0, lane * (n + 0.5) + 2);
    pen.fillStyle = colour("--line");
    pen.fillRect(LEFT, lane * (n + 0.5) + 2, width - LEFT, 1);
  });
  const tick = Math.max(1, Math.min(5, (width - LEFT) / events.length - 0.5));
  events.forEach((event, at) => {
    const n = laneOf(event);
    if (n < 0) return;
    pen.fillStyle = hasFailed(event) ? colour("--crash") : colour(LANES[n][1]);
    pen.fillRect(xOf(at, width) - tick / 2, lane * n + 5, tick, lane - 6);
  });
  pen.fillStyle = colour("--crash");
  for (const at of crashes) {
    pen.fillRect(xOf(at, width) - 1, 0, 2, height);
    pen.beginPath();
    pen.moveTo(xOf(at, width) - 5, 0);
    pen.lineTo(xOf(at, width) + 5, 0);
    pen.lineTo(xOf(at, width), 8);
    pen.fill();
  }
  pen.fillStyle = colour("--ink");
  pen.fillRect(xOf(cursor, width) - 0.75, 0, 1.5, height);
  pen.beginPath();
  pen.moveTo(xOf(cursor, width) - 5, height);
  pen.lineTo(xOf(cursor, width) + 5, height);
  pen.lineTo(xOf(cursor, width), height - 7);
  pen.fill();
}

// ---- the cards follow the cursor ----
function cards() {
  // A crash begins one event before what it left.
  const before = crashes.filter((at) => at - 1 <= cursor);
  const crash = before.length ? lastOf(before) : crashes[0];
  const lost = byId("lost"), recovered = byId("recovered");
  lost.replaceChildren();
  recovered.replaceChildren();
  const nth = crashes.indexOf(crash) + 1;
  const which = crash === undefined ? "" : " at crash " + nth + " of " + crashes.length;
  byId("lost-title").textContent = "What was lost" + which;
  byId("recovered-title").textContent = "What was recovered" + (which ? " after it" : "");
  if (crash === undefined) {
    lost.append(el("p", "", "Nothing: there was no crash."));
  } else {
    const [first, ...lines] = events[crash][2].split("\n");
    lost.append(el("p", "loss", el("b", "", first)));
    for (const line of lines) {
      lost.append(line.startsWith("    ") ? el("p", "loss", el("span", "sub", line.trim())) : el("p", "loss mono", shortPath(line.trim())));
    }
    if (!lines.length) lost.append(el("p", "loss", "Nothing that was visible was lost."));
  }
  const from = crash === undefined ? 0 : crash;
  const opened = events.findIndex((event, at) => at >= from && event[0] === "opened");
  const again = crashes.filter((at) => at > from && (opened < 0 || at < opened)).length;
  if (again) recovered.append(el("p", "loss", "The recovery crashed as well" + (again > 1 ? ", " + again + " times" : "") + (opened < 0 ? "." : "; then:")));
  if (opened < 0) {
    if (!again) recovered.append(el("p", "loss", "No opening followed."));
    return;
  }
  const text = events[opened][2].replace(/^opened: /, "");
  const table = el("table");
  const version = text.match(/^version (\d+)/);
  const add = (name, value) => table.append(el("tr", "", el("th", "", name), el("td", "mono", value)));
  if (version) add("version", version[1]);
  const report = text.match(/\{ (.*) \}$/s);
  const fields = report ? report[1].split(/, (?=[a-z_]+: )/) : [];
  for (const field of fields) {
    const at = field.indexOf(": ");
    const value = field.slice(at + 2);
    const names = value.replace(/RunId\((\w{4})[\w-]*(\w{4})\)/g, "$1…$2");
    if (value !== "0" && value !== "None" && value !== "[]" && value !== "false" && value !== "0ns") add(field.slice(0, at).replaceAll("_", " "), names);
  }
  recovered.append(table);
}

// ---- the files follow the cursor ----
function images() {
  const image = imageAt(cursor), touched = touchedBy(cursor);
  const same = (n) => {
    const live = image.get(n + ":0"), durable = image.get(n + ":1");
    return Boolean(live && durable && live.length === durable.length && live.every((byte, at) => byte === durable[at]));
  };
  const there = files.map((_, n) => image.has(n + ":0") || image.has(n + ":1") || touched.has(n + ":0") || touched.has(n + ":1"));
  if (!chosenByHand || !there[file]) {
    const just = [...touched.keys()].map((key) => Number(key.split(":")[0]));
    const size = (n) => (image.get(n + ":0") || image.get(n + ":1") || []).length;
    if (just.length) file = just.sort((a, b) => size(b) - size(a))[0];
    else if (!there[file] || same(file)) {
      const unsynced = files.map((_, n) => n).filter((n) => there[n] && !same(n) && size(n) > 0);
      unsynced.sort((a, b) => size(b) - size(a));
      if (unsynced.length) file = unsynced[0];
      else if (!there[file]) file = files.map((_, n) => n).filter((n) => there[n]).sort((a, b) => size(b) - size(a))[0] ?? -1;
    }
  }
  const box = byId("files");
  box.replaceChildren();
  files.forEach((path, n) => {
    if (!there[n]) return;
    const live = image.get(n + ":0"), durable = image.get(n + ":1");
    const state = same(n) ? "" : !durable ? " not durable" : !live ? " removed, not yet durably" : " unsynced";
    const size = live ? count(live.length) + " B" : "–";
    const button = el("button", "", path.replace(/^\/data\/store\//, ""), el("span", "size", "  " + size), el("span", "unsynced", state));
    if (n === file) button.classList.add("chosen");
    if (touched.has(n + ":0") || touched.has(n + ":1")) button.classList.add("touched");
    button.title = path;
    button.onclick = () => { file = n; chosenByHand = true; images(); };
    box.append(button);
  });
  if (file < 0) {
    for (const id of ["sectors", "live", "durable"]) byId(id).replaceChildren();
    box.append(el("span", "none", "no file yet"));
    return;
  }
  const live = image.get(file + ":0"), durable = image.get(file + ":1");
  const ranges = [0, 1].map((n) => touched.get(file + ":" + n) || []);
  const sectors = byId("sectors");
  sectors.replaceChildren();
  const end = Math.max(live ? live.length : 0, durable ? durable.length : 0);
  for (let sector = 0; sector * 512 < end && sector < 512; sector++) {
    const cell = el("i");
    const from = sector * 512, to = Math.min(from + 512, end);
    let differs = false;
    for (let at = from; at < to && !differs; at++) differs = (live && live[at]) !== (durable && durable[at]);
    if (differs) cell.classList.add("differs");
    if (ranges.flat().some(([low, high]) => low < to && high > from)) cell.classList.add("touched");
    cell.title = "sector " + sector + ", bytes " + from + " to " + to + (differs ? ": live and durable differ" : "");
    sectors.append(cell);
  }
  byId("live").replaceChildren(side(live, durable, ranges[0]));
  byId("durable").replaceChildren(side(durable, live, ranges[1]));
}

function go(at) {
  if (rows[cursor]) rows[cursor].classList.remove("here");
  cursor = Math.max(0, Math.min(events.length - 1, at));
  const row = rows[cursor];
  row.classList.add("here");
  if (row.hidden) row.hidden = false;
  const box = byId("events");
  if (row.offsetTop < box.scrollTop || row.offsetTop > box.scrollTop + box.clientHeight - 36) box.scrollTop = row.offsetTop - box.clientHeight / 2;
  byId("cursor").value = cursor;
  const [kind, number, text] = events[cursor];
  const label = kind === "op" ? "operation " + number + ": " : kind === "call" ? "call " + number + ": " : "";
  byId("now").textContent = (cursor + 1) + " of " + events.length + "   " + label + shortPath(text.split("\n")[0]);
  draw();
  cards();
  images();
}
const step = (by) => {
  let at = cursor + by;
  while (at > 0 && at < events.length - 1 && rows[at].hidden) at += by;
  go(at);
};
const crash = (by) => {
  const next = by > 0 ? crashes.find((at) => at > cursor) : lastOf(crashes.filter((at) => at < cursor));
  if (next !== undefined) go(next);
};

head();
list();
for (const [name, variable] of [...LANES, ["failed call, crash", "--crash"], ["recovery", "--recover"]]) {
  const mark = el("i");
  mark.style.background = "var(" + variable + ")";
  byId("legend").append(el("span", "", mark, name));
}
for (const [variable, words] of [["--changed", "changed by this step"], ["--differs", "live and durable differ"]]) {
  const mark = el("i");
  mark.style.background = "var(" + variable + ")";
  byId("hint").append(mark, words);
}
byId("cursor").max = events.length - 1;
byId("cursor").oninput = (event) => go(Number(event.target.value));
byId("prev").onclick = () => step(-1);
byId("next").onclick = () => step(1);
byId("prev-crash").onclick = () => crash(-1);
byId("next-crash").onclick = () => crash(1);
byId("lanes").onclick = (event) => {
  const width = event.target.clientWidth;
  go(Math.round(((event.offsetX - LEFT) / (width - LEFT - 4)) * events.length - 0.5));
};
document.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT" && event.target.type === "range") return;
  const keys = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), "[": () => crash(-1), "]": () => crash(1) };
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
window.addEventListener("resize", draw);
// A link may name a moment: #at=12.
const asked = /^#at=(\d+)$/.exec(location.hash);
// Else the page opens where the last crash that took something struck.
const lossy = crashes.filter((at) => /\n/.test(events[at][2]));
go(asked ? Number(asked[1]) : lossy.length ? lastOf(lossy) - 1 : crashes.length ? lastOf(crashes) : 0);
document.body.dataset.events = events.length;
document.body.dataset.steps = steps.length;
document.body.dataset.sections = document.querySelectorAll(".section").length;
document.body.dataset.ready = "true";
