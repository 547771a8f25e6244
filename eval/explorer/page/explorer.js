"use strict";
// A rule fails a page or not; a page's row of bits says which rules it fails, and everything shown is counted from those rows.
const BINS = 96, STEPS = 1000, MOST_RULES = 31, SHOWN_TOGETHER = 8, SHOWN_PAGES = 3, NEAREST = 60;
const Z = 1.96; // 95 % of a normal distribution
const $ = (id) => document.getElementById(id);
const make = (tag, say = {}, ...inside) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(say)) name in element ? (element[name] = value) : element.setAttribute(name, value);
  element.append(...inside);
  return element;
};

async function unpacked(id) {
  const element = $(id), raw = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  element.textContent = "";
  return new Response(new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer();
}
const json = async (id) => JSON.parse(new TextDecoder().decode(await unpacked(id)));

let facts, texts, pages, signals, rules, switches, strataOf, factor, bytes, tokens, inSlice, fails, touched = null, turn = 0;
const views = new Map(); // canvas -> signal, of what is on the screen

async function start() {
  facts = await json("facts");
  const block = await unpacked("columns");
  texts = await json("texts");
  const types = { float32: Float32Array, uint16: Uint16Array, uint8: Uint8Array };
  const array = (told) => new types[told.type](block, told.at, pages);
  pages = facts.pages;
  strataOf = array(facts.strata_of);
  factor = Float64Array.from(facts.strata, ([, all, drawn]) => (drawn ? all / drawn : 0));
  bytes = array(facts.weights.bytes);
  tokens = facts.weights.tokens ? array(facts.weights.tokens) : null;
  signals = facts.signals.map((told) => ({ ...told, values: array(told.values) }));
  switches = facts.switches.map((told) => ({ kind: "switch", ...told, first: told.on, fails: array(told.fails) }));
  inSlice = new Uint8Array(pages).fill(1);
  fails = new Uint32Array(pages);
  firstRules();
  slices();
  groups();
  changed();
}

// ---- rules -----------------------------------------------------------------------------------------------------------

const named = (name) => signals.find((signal) => signal.name === name);

function firstRules() {
  rules = [];
  for (const signal of signals) signal.rule = null;
  for (const [name, bounds] of Object.entries(facts.bounds)) {
    const signal = named(name), rule = ruleOf(signal);
    if (signal.kind === "number") Object.assign(rule, { strict: "above" in bounds, strictly: "below" in bounds, nulls: bounds.null === "keep",
      low: bounds.min ?? bounds.above ?? null, high: bounds.max ?? bounds.below ?? null });
    else choose(rule, bounds);
  }
  rules.forEach(judge);
  for (const one of switches) one.on = one.first;
  rules.push(...switches);
}

function choose(rule, bounds) {
  const names = rule.signal.names.slice(0, -1);
  const wanted = "is" in bounds ? [String(bounds.is)] : bounds.in ? bounds.in.map(String) : names.filter((name) => !bounds.not_in.map(String).includes(name));
  rule.taken = new Set(wanted.map((name) => names.indexOf(name)).filter((code) => code >= 0));
  rule.nulls = bounds.null === "keep";
}

function ruleOf(signal) {
  if (!signal.rule) {
    if (rules.length >= MOST_RULES) throw new Error(`at most ${MOST_RULES} rules can be set at once: take one away first`);
    signal.rule = { kind: signal.kind === "number" ? "bound" : "choice", signal, low: null, high: null, strict: false, strictly: false,
      nulls: false, taken: null, on: true, fails: new Uint8Array(pages) };
    rules.push(signal.rule);
  }
  return signal.rule;
}

const says = (rule) => rule.kind === "switch" || (rule.kind === "choice" ? rule.taken !== null : rule.low !== null || rule.high !== null);

function judge(rule) {
  if (rule.kind === "bound") judgeBounds(rule);
  if (rule.kind === "choice") judgeChoice(rule);
}

function judgeBounds({ signal: { values }, fails, low, high, strict, strictly, nulls }) {
  const least = low === null ? -Infinity : Math.fround(low), most = high === null ? Infinity : Math.fround(high), none = nulls ? 0 : 1;
  for (let page = 0; page < pages; page++) {
    const value = values[page];
    fails[page] = value !== value ? none : (strict ? value > least : value >= least) && (strictly ? value < most : value <= most) ? 0 : 1;
  }
}

function judgeChoice({ signal: { values, names }, fails, taken, nulls }) {
  const failing = Uint8Array.from(names, (_, code) => (taken === null || taken.has(code) ? 0 : 1));
  failing[names.length - 1] = nulls ? 0 : 1; // null is the last of the names
  for (let page = 0; page < pages; page++) fails[page] = taken === null ? 0 : failing[values[page]];
}

function ruleText(rule) {
  if (rule.kind === "switch") return rule.text;
  const { signal, low, high } = rule;
  const said = rule.kind === "choice" ? [chosenText(rule)] : [low !== null && `${rule.strict ? "above" : "min"} ${shown(low)}`, high !== null && `${rule.strictly ? "below" : "max"} ${shown(high)}`];
  return [signal.name, ...said.filter(Boolean), ...(rule.nulls ? ["or null"] : [])].join(" ");
}
const chosenText = ({ signal, taken }) => {
  const names = [...taken].map((code) => signal.names[code]);
  return signal.kind === "flag" ? `is ${names.join(" or ") || "nothing"}` : `in ${names.slice(0, 4).join(", ") || "nothing"}${names.length > 4 ? ` and ${names.length - 4} more` : ""}`;
};

// ---- counting --------------------------------------------------------------------------------------------------------

function count() {
  const active = rules.filter((rule) => says(rule) && rule.on), strata = facts.strata.length;
  fails.fill(0);
  active.forEach((rule, at) => { const own = rule.fails; for (let page = 0; page < pages; page++) fails[page] |= own[page] << at; });
  const sums = Array.from({ length: strata }, () => ({ n: 0, kept: 0, b: 0, bKept: 0, bb: 0, bbKept: 0, t: 0, tKept: 0 }));
  const alone = new Float64Array(active.length), unique = new Float64Array(active.length), together = new Map();
  for (let page = 0; page < pages; page++) {
    if (!inSlice[page]) continue;
    const row = fails[page], stratum = strataOf[page], f = factor[stratum], b = bytes[page], sum = sums[stratum];
    sum.n++; sum.b += b; sum.bb += b * b;
    if (tokens) sum.t += tokens[page];
    if (row === 0) {
      sum.kept++; sum.bKept += b; sum.bbKept += b * b;
      if (tokens) sum.tKept += tokens[page];
      continue;
    }
    together.set(row, (together.get(row) ?? 0) + f);
    if ((row & (row - 1)) === 0) unique[31 - Math.clz32(row)] += f;
    for (let left = row; left; left &= left - 1) alone[31 - Math.clz32(left & -left)] += f;
  }
  const all = sums.reduce((total, sum, at) => total + sum.n * factor[at], 0);
  return { active, sums, all, alone, unique, together };
}

// Ratio estimate over strata (Cochran 1977, 6.13): the kept part of a weight over all of it, and its standard error.
function ratio(sums, one, kept, squares, keptSquares) {
  let top = 0, bottom = 0, variance = 0;
  sums.forEach((sum, at) => { top += sum[kept] * factor[at]; bottom += sum[one] * factor[at]; });
  const share = bottom ? top / bottom : 0;
  sums.forEach((sum, at) => {
    const [, all, drawn] = facts.strata[at];
    if (drawn < 2) return;
    // A page out of the slice adds nothing to either sum: it counts as a residual of 0.
    const square = sum[keptSquares] * (1 - 2 * share) + share * share * sum[squares], total = sum[kept] - share * sum[one];
    variance += all * (all - drawn) * Math.max(0, square - (total * total) / drawn) / (drawn - 1) / drawn;
  });
  return { share, error: bottom ? Math.sqrt(variance) / bottom : 0, kept: top, all: bottom };
}

// ---- what is shown ---------------------------------------------------------------------------------------------------

const number = (value) => Math.round(value).toLocaleString("en-US");
const percent = (share) => `${(100 * share).toFixed(share && share < 0.01 ? 2 : 1)} %`;
// As YAML 1.1 reads a number: never with an exponent, which it takes for text where there is no point.
const exact = (value) => (/e/.test(String(value)) ? value.toFixed(20).replace(/\.?0+$/, "") : String(value));
const shown = (value) => String(Number(Number(value).toPrecision(6)));
const ended = (value) => (value >= 10000 ? number(value) : shown(value));
const size = (value) => { const units = ["bytes", "kB", "MB", "GB", "TB", "PB"]; let at = 0; while (value >= 1000 && at < 5) { value /= 1000; at++; } return `${value.toFixed(at ? 1 : 0)} ${units[at]}`; };
const error = ({ error }) => (error ? ` ± ${(100 * Z * error).toFixed(Z * error < 0.001 ? 2 : 1)}` : "");

let waiting = false;
function changed(signal) {
  if (signal !== undefined) touched = signal;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; show(count()); });
}

let pause;
function show(counted) {
  const inPages = ratio(counted.sums, "n", "kept", "n", "kept"), inBytes = ratio(counted.sums, "b", "bKept", "bb", "bbKept");
  $("share").textContent = `${percent(inPages.share)}${error(inPages)}`;
  const sampled = counted.sums.reduce((total, { n }) => total + n, 0), kept = counted.sums.reduce((total, sum) => total + sum.kept, 0);
  $("of").textContent = `of the pages: ${number(inPages.kept)} of ${number(inPages.all)}`;
  $("of").dataset.kept = kept;
  const more = [`${percent(inBytes.share)}${error(inBytes)} of the bytes (${size(inBytes.kept)})`];
  if (tokens) { const sum = (name) => counted.sums.reduce((total, one, at) => total + one[name] * factor[at], 0); more.push(`${percent(sum("t") ? sum("tKept") / sum("t") : 0)} of the tokens`); }
  more.push(sampled === Math.round(inPages.all) ? "counted on every page" : `estimated from ${number(sampled)} pages`);
  $("sizes").textContent = more.join(" · ");
  for (const [canvas, signal] of views) draw(canvas, signal);
  ruleRows(counted);
  combinations(counted);
  yaml();
  clearTimeout(pause);
  pause = setTimeout(pagesAtTheCut, 120, counted);
}

function ruleRows({ active, alone, unique, all }) {
  const body = $("rules").tBodies[0], there = rules.filter(says);
  while (body.rows.length > there.length) body.lastElementChild.remove();
  while (body.rows.length < there.length) {
    const box = make("input", { type: "checkbox" }), label = make("label", {}, box, " ", make("span"));
    const cell = make("td", { className: "bar" }, make("div", {}, make("i"), make("i", { className: "unique" })));
    const row = make("tr", {}, make("th", { scope: "row" }, label), make("td", { className: "n" }), make("td", { className: "n" }), cell);
    box.addEventListener("change", () => { toggle(row.rule, box.checked); });
    body.append(row);
  }
  there.forEach((rule, at) => {
    const row = body.rows[at], place = active.indexOf(rule), share = (of) => (place < 0 || !all ? 0 : of[place] / all);
    row.rule = rule;
    row.className = rule.on ? "" : "off";
    row.querySelector("input").checked = rule.on;
    row.querySelector("span").textContent = `${place < 0 ? "" : `${place + 1}. `}${ruleText(rule)}`;
    row.cells[1].textContent = place < 0 ? "" : percent(share(alone));
    row.cells[2].textContent = place < 0 ? "" : percent(share(unique));
    const [both, only] = row.querySelectorAll("i");
    both.style.width = `${100 * share(alone)}%`;
    only.style.width = `${100 * share(unique)}%`;
    if (rule.signal.row) rule.signal.row.querySelector(".alone").textContent = place < 0 ? "" : `drops ${percent(share(alone))}`;
  });
  for (const { rule, row } of signals) if (row) { row.classList.toggle("ruled", !!rule && says(rule) && rule.on); if (!rule || !says(rule)) row.querySelector(".alone").textContent = ""; }
  $("none").hidden = there.length > 0;
  $("rules").hidden = there.length === 0;
}

// Of two ways to say the same condition of one signal only one is on: the file can hold but one.
function toggle(rule, on) {
  rule.on = on;
  if (on && rule.kind === "switch") for (const other of rules) if (other !== rule && other.kind === "switch" && other.signal === rule.signal && (rule.signal === "sample" || Object.keys(other.yaml).some((key) => key in rule.yaml))) other.on = false;
  changed();
}

function combinations({ active, together, all }) {
  const most = [...together].filter(([row]) => row & (row - 1)).sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, SHOWN_TOGETHER);
  $("together-title").hidden = most.length === 0;
  if (!most.length) return $("together").replaceChildren();
  const used = active.map((_, at) => at).filter((at) => most.some(([row]) => (row >>> at) & 1)), largest = most[0][1];
  const head = make("tr", {}, ...used.map((at) => make("th", { title: ruleText(active[at]) }, String(at + 1))), make("th"), make("th"));
  const lines = most.map(([row, weight]) => {
    const dots = used.map((at) => make("td", { className: (row >>> at) & 1 ? "dot in" : "dot", title: ruleText(active[at]) }, "●"));
    const bar = make("i", { className: "unique" });
    bar.style.width = `${(100 * weight) / largest}%`;
    return make("tr", {}, ...dots, make("td", { className: "n" }, percent(weight / all)), make("td", { className: "bar" }, make("div", {}, bar)));
  });
  $("together").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
}

// ---- histograms and sliders ------------------------------------------------------------------------------------------

// An axis from the .5th to the 99.5th percentile, by logarithm where most of the pages would lie in one corner.
function axis(signal) {
  if (signal.axis) return signal.axis;
  const there = signal.values.filter((value) => value === value).sort(), at = (share) => there[Math.min(there.length - 1, Math.floor(share * there.length))];
  if (!there.length) return (signal.axis = { low: 0, high: 1, log: false, empty: true });
  let low = at(0.005), high = at(0.995);
  if (low === high) { low = there[0]; high = there[there.length - 1]; }
  if (low === high) high = low + 1;
  const log = low >= 0 && high > 20 * Math.max(at(0.5), signal.whole ? 1 : 1e-6);
  const unit = signal.whole ? 1 : high / 1000;
  signal.axis = { low, high, log, unit };
  return signal.axis;
}
const along = ({ low, high, log, unit }, value) => (log ? Math.log1p((value - low) / unit) / Math.log1p((high - low) / unit) : (value - low) / (high - low));
const across = ({ low, high, log, unit }, share) => (log ? low + unit * Math.expm1(share * Math.log1p((high - low) / unit)) : low + share * (high - low));

function binned(signal) {
  if (!signal.bins) {
    const line = axis(signal);
    signal.bins = Uint8Array.from(signal.values, (value) => (value !== value ? 255 : Math.max(0, Math.min(BINS - 1, Math.floor(along(line, value) * BINS)))));
  }
  return signal.bins;
}

function draw(canvas, signal) {
  const bins = binned(signal), all = new Float64Array(256), kept = new Float64Array(256);
  for (let page = 0; page < pages; page++) if (inSlice[page]) { const f = factor[strataOf[page]]; all[bins[page]] += f; if (!fails[page]) kept[bins[page]] += f; }
  const wide = canvas.clientWidth, high = canvas.clientHeight, sharp = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(wide * sharp)) { canvas.width = Math.round(wide * sharp); canvas.height = Math.round(high * sharp); }
  const pen = canvas.getContext("2d");
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, wide, high);
  let top = 0;
  for (let bin = 0; bin < BINS; bin++) top = Math.max(top, all[bin]);
  const tall = (weight) => (top ? (weight ? Math.max(1, Math.sqrt(weight / top) * (high - 2)) : 0) : 0); // by root: tails stay seen
  for (const [weights, colour] of [[all, "#c9c9c9"], [kept, "#0072b2"]]) {
    pen.fillStyle = colour;
    for (let bin = 0; bin < BINS; bin++) { const up = tall(weights[bin]); pen.fillRect((bin * wide) / BINS, high - up, wide / BINS - 0.5, up); }
  }
  const { rule } = signal, line = axis(signal);
  if (!rule) return;
  for (const [bound, before] of [[rule.low, true], [rule.high, false]]) {
    if (bound === null) continue;
    const at = Math.max(0, Math.min(1, along(line, bound))) * wide;
    pen.fillStyle = "rgba(179, 58, 0, .1)";
    before ? pen.fillRect(0, 0, at, high) : pen.fillRect(at, 0, wide - at, high);
    pen.fillStyle = "#b33a00";
    pen.fillRect(Math.min(wide - 1.5, at), 0, 1.5, high);
  }
}

function rounded(signal, value) {
  if (signal.whole) return Math.round(value);
  const line = axis(signal);
  return Number(value.toFixed(Math.max(0, Math.min(12, 3 - Math.floor(Math.log10(line.log ? Math.max(value, line.unit) : line.high - line.low))))));
}

function numberRow(signal) {
  const canvas = make("canvas", { role: "img", "aria-label": `Histogram of ${signal.name}` }), line = axis(signal);
  const ends = make("div", { className: "ends" }, make("span", {}, ended(rounded(signal, line.low))), make("span", {}, line.log ? "log scale" : ""), make("span", {}, ended(rounded(signal, line.high))));
  const sliders = {}, fields = {};
  const set = (which, value, moved) => {
    const rule = ruleOf(signal);
    rule[which] = value;
    if (which === "low") rule.strict = false; else rule.strictly = false;
    if (rule.low !== null && rule.high !== null && rule.low > rule.high) rule[which === "low" ? "high" : "low"] = value;
    rule.on = true;
    judge(rule);
    place(moved);
    changed(signal);
  };
  const place = (moved) => { // not the slider in hand: put back to a rounded bound it would never leave it

    const rule = signal.rule;
    for (const [which, empty] of [["low", 0], ["high", STEPS]]) {
      const bound = rule ? rule[which] : null;
      if (sliders[which] !== moved) sliders[which].value = bound === null ? empty : Math.round(Math.max(0, Math.min(1, along(line, bound))) * STEPS);
      sliders[which].setAttribute("aria-valuetext", bound === null ? "no bound" : shown(bound));
      fields[which].value = bound === null ? "" : shown(bound);
    }
    nulls.checked = !!rule && rule.nulls;
  };
  for (const [which, word, empty] of [["low", "min", 0], ["high", "max", STEPS]]) {
    sliders[which] = make("input", { type: "range", min: 0, max: STEPS, step: 1, "aria-label": `${word} ${signal.name}` });
    sliders[which].addEventListener("input", (event) => { const at = Number(event.target.value); guarded(() => set(which, at === empty ? null : rounded(signal, across(line, at / STEPS)), event.target)); });
    fields[which] = make("input", { type: "number", step: "any", placeholder: "none", "aria-label": `${word} of ${signal.name} as a number` });
    fields[which].addEventListener("change", (event) => { const given = event.target.value.trim(); guarded(() => set(which, given === "" ? null : Number(given))); });
  }
  const nulls = make("input", { type: "checkbox" });
  nulls.addEventListener("change", () => guarded(() => { const rule = ruleOf(signal); rule.nulls = nulls.checked; judge(rule); changed(signal); }));
  const missing = signal.values.reduce((total, value) => total + (value !== value ? 1 : 0), 0);
  const keepNull = missing ? [make("label", {}, nulls, ` keep null (${percent(missing / pages)})`)] : [];
  signal.place = place;
  place();
  seen.observe(canvas);
  canvas.signal = signal;
  return [canvas, make("div", { className: "slide" }, sliders.low, sliders.high), ends,
    make("div", { className: "bounds" }, make("label", {}, "min ", fields.low), make("label", {}, "max ", fields.high), ...keepNull)];
}

function choiceRow(signal) {
  const counts = new Float64Array(signal.names.length), boxes = [];
  for (let page = 0; page < pages; page++) counts[signal.values[page]] += factor[strataOf[page]];
  const all = counts.reduce((total, one) => total + one, 0);
  const set = () => guarded(() => {
    const rule = ruleOf(signal), taken = new Set(boxes.filter((box) => box.checked).map((box) => box.code));
    rule.taken = taken.size === boxes.length ? null : taken;
    rule.on = true;
    judge(rule);
    changed(signal);
  });
  signal.place = () => boxes.forEach((box) => { box.checked = !signal.rule || signal.rule.taken === null || signal.rule.taken.has(box.code); });
  const labels = signal.names.slice(0, -1).map((name, code) => {
    const box = make("input", { type: "checkbox" });
    box.code = code;
    box.addEventListener("change", set);
    boxes.push(box);
    return make("label", {}, box, ` ${name} `, make("span", { className: "n" }, percent(counts[code] / all)));
  });
  signal.place();
  return [make("div", { className: "choices" }, ...labels)];
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) isIntersecting ? (views.set(target, target.signal), draw(target, target.signal)) : views.delete(target);
}, { rootMargin: "100px" });
addEventListener("resize", () => { for (const [canvas, signal] of views) draw(canvas, signal); });

function groups() {
  const shownSignals = signals.filter(({ kind }) => kind !== "slice");
  const byGroup = Map.groupBy ? Map.groupBy(shownSignals, ({ group }) => group) : shownSignals.reduce((found, signal) => found.set(signal.group, [...(found.get(signal.group) ?? []), signal]), new Map());
  for (const [group, some] of byGroup) {
    const box = make("details", { open: some.some(({ rule }) => rule) }, make("summary", {}, make("b", {}, group), make("span", {}, ` ${some.length} signal${some.length > 1 ? "s" : ""}`)));
    const fill = () => { if (box.open) for (const signal of some) if (!signal.row) box.append(row(signal)); };
    box.addEventListener("toggle", fill);
    fill();
    $("groups").append(box);
  }
  $("find").addEventListener("input", () => {
    const wanted = $("find").value.trim().toLowerCase();
    for (const box of $("groups").children) {
      const some = byGroup.get(box.querySelector("b").textContent), hits = some.filter(({ name, about }) => `${name} ${about}`.toLowerCase().includes(wanted));
      box.hidden = hits.length === 0;
      if (wanted && hits.length) { box.open = true; for (const signal of some) { if (!signal.row) box.append(row(signal)); } }
      for (const signal of some) if (signal.row) signal.row.hidden = !hits.includes(signal);
    }
  });
  if (facts.left_out.length) { $("left-out").hidden = false; $("left-out").textContent = `Left out, for want of room: ${facts.left_out.join(", ")}. A smaller sample (explore.pages) has room for more.`; }
}

function row(signal) {
  const title = make("div", { className: "title" }, make("span", { className: "name" }, signal.name), make("span", { className: "alone" }));
  signal.row = make("div", { className: "signal" }, title, ...(signal.about ? [make("p", { className: "about" }, signal.about)] : []), ...(signal.kind === "number" ? numberRow(signal) : choiceRow(signal)));
  return signal.row;
}

function guarded(work) {
  try { work(); $("failed").hidden = true; } catch (failure) { $("failed").textContent = failure.message; $("failed").hidden = false; }
}

// ---- slices, pages, YAML ---------------------------------------------------------------------------------------------

function slices() {
  for (const signal of signals.filter(({ kind }) => kind !== "number")) {
    const group = make("optgroup", { label: signal.name });
    signal.names.slice(0, -1).forEach((name, code) => group.append(make("option", { value: `${signal.name} ${code}` }, `${signal.name}: ${name}`)));
    $("slice").append(group);
  }
  $("slice").addEventListener("change", ({ target }) => {
    const [name, code] = target.value.split(" "), signal = named(name);
    for (let page = 0; page < pages; page++) inSlice[page] = !signal || signal.values[page] === Number(code) ? 1 : 0;
    changed();
  });
}

function pagesAtTheCut({ active }) {
  const rule = active.find((one) => one.signal === touched) ?? null, at = active.indexOf(rule), bound = rule?.kind === "bound" ? rule : null;
  const distance = (page) => (bound ? Math.min(...[bound.low, bound.high].filter((one) => one !== null).map((one) => Math.abs(along(axis(touched), touched.values[page]) - along(axis(touched), one)))) : 0);
  const pick = (wanted) => {
    const found = [];
    texts.forEach(([page], place) => { if (inSlice[page] && wanted(fails[page])) found.push([distance(page), place]); });
    const near = found.sort((a, b) => a[0] - b[0] || a[1] - b[1]).slice(0, NEAREST), most = Math.min(SHOWN_PAGES, near.length);
    return Array.from({ length: most }, (_, step) => near[(turn * SHOWN_PAGES + step) % near.length][1]);
  };
  const only = rule ? (row) => row === (1 << at) >>> 0 : (row) => row !== 0;
  $("cut").textContent = bound ? `Nearest to the cut on ${touched.name}: kept pages, and pages that no other rule drops.` : rule ? `Pages that only ${ruleText(rule)} drops, and kept ones.` : "Kept and dropped pages in the order of a draw. Move a bound to see those next to it.";
  const one = (place, kept) => {
    const [page, address, text] = texts[place], failed = active.filter((_, bit) => (fails[page] >>> bit) & 1).map(ruleText);
    const value = touched ? ` · ${touched.name} ${touched.kind === "number" ? (touched.values[page] === touched.values[page] ? shown(touched.values[page]) : "null") : touched.names[touched.values[page]]}` : "";
    const why = make("p", { className: "why" }, make("b", {}, kept ? "kept" : "dropped"), `${value}${failed.length ? ` · fails ${failed.join("; ")}` : ""} · ${address}`);
    return make("article", { className: kept ? "kept" : "dropped" }, why, make("p", { className: "text" }, text));
  };
  $("pages").replaceChildren(...pick((row) => row === 0).map((place) => one(place, true)), ...pick(only).map((place) => one(place, false)));
  if (!$("pages").children.length) $("pages").append(make("p", { className: "aside" }, "The sample has no such page with its text."));
}

const bare = (text) => (/^[A-Za-z][A-Za-z0-9_.]*$/.test(text) && !/^(y|n|yes|no|on|off|true|false|null)$/i.test(text) ? text : JSON.stringify(text));

function conditions(rule) {
  if (rule.kind === "switch") return { ...rule.yaml };
  const said = {}, { signal } = rule;
  if (rule.kind === "choice") { const names = [...rule.taken].map((code) => signal.names[code]); if (signal.kind === "flag" && names.length === 1) said.is = names[0]; else said.in = `[${names.map(bare).join(", ")}]`; }
  else { if (rule.low !== null) said[rule.strict ? "above" : "min"] = exact(rule.low); if (rule.high !== null) said[rule.strictly ? "below" : "max"] = exact(rule.high); }
  if (rule.nulls) said.null = "keep";
  return said;
}

function yaml() {
  const byName = new Map(), whole = new Map(), swept = $("swept"), bounds = [];
  for (const rule of rules) {
    if (!says(rule) || !rule.on) continue;
    const name = rule.kind === "switch" ? rule.signal : rule.signal.name;
    if (rule.kind === "switch" && rule.whole !== null) { whole.set(name, [...(whole.get(name) ?? []), rule.whole]); continue; }
    byName.set(name, { ...byName.get(name), ...conditions(rule) });
    if (rule.kind === "bound") for (const key of Object.keys(conditions(rule))) if (key !== "null") bounds.push([`rules.${name}.${key}`, rule, key]);
  }
  const lines = ["presets: []", byName.size + whole.size ? "rules:" : "rules: {}"];
  for (const [name, said] of byName) lines.push(`  ${name}: {${Object.entries(said).map(([key, value]) => `${key}: ${value}`).join(", ")}}`);
  for (const [name, said] of whole) lines.push(`  ${name}: ${said.length > 1 ? `[${said.join(", ")}]` : said[0]}`);
  const before = swept.value, keys = bounds.map(([key]) => key);
  if (keys.join() !== [...swept.options].slice(1).map(({ value }) => value).join()) {
    swept.replaceChildren(make("option", { value: "" }, "nothing"), ...keys.map((key) => make("option", { value: key }, key.slice(6))));
    swept.value = keys.includes(before) ? before : "";
  }
  const found = bounds.find(([key]) => key === swept.value);
  lines.push(found ? `sweep: {${found[0]}: [none, ${steps(found[1], found[2]).join(", ")}]}` : "sweep: {}");
  $("yaml").value = lines.join("\n") + "\n";
  $("yaml").rows = lines.length + 1;
}

// The bound itself, and one that keeps half as many of the pages that pass it.
function steps(rule, key) {
  const { values } = rule.signal, upper = key === "max" || key === "below", bound = upper ? rule.high : rule.low;
  const beyond = values.filter((value) => (upper ? value <= bound : value >= bound)).sort(), half = beyond.length ? rounded(rule.signal, beyond[beyond.length >> 1]) : bound;
  return half === bound ? [exact(bound)] : [exact(bound), exact(half)];
}

$("swept").addEventListener("change", yaml);
$("others").addEventListener("click", () => { turn++; changed(); });
$("reset").addEventListener("click", () => { firstRules(); touched = null; for (const { place } of signals) place?.(); changed(); });
$("copy").addEventListener("click", async () => {
  const text = $("yaml").value;
  try { await navigator.clipboard.writeText(text); } catch { $("yaml").select(); document.execCommand("copy"); }
  $("copy").textContent = "Copied";
  $("copied").textContent = "Copied. Put it into the experiment file in place of presets:, rules: and sweep:.";
  setTimeout(() => { $("copy").textContent = "Copy as YAML"; }, 1500);
});
start().catch((failure) => { $("failed").hidden = false; $("failed").textContent = `This page could not be shown: ${failure.message}. It needs a browser of 2023 or later.`; });
