"use strict";

// What all parts of the page share. Everything that comes from a run is put in as text, never as markup.

const page = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const COLOURS = 8;
const UNKNOWN = "-"; // the value of a key

const state = {
  set: page.sets[0],
  filter: "",
  sort: { by: "best", down: false },
  open: new Set(), // groups that show their runs
  drawn: [], // the group drawn in each colour, or null
  measure: "best",
  across: null, // keys of the heat map
  down: null,
  columns: "", // keys of the matrix of images
  rows: "",
  seed: "",
  curve: "",
  time: 0,
  size: 2,
};

// ---- elements ---------------------------------------------------------------------------------------------

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

function choice(label, options, value, change, id) {
  const select = el("select", { id, onchange: () => change(select.value) },
    options.map(([key, text]) => el("option", { value: key, selected: key === value }, text)));
  return el("label", {}, `${label} `, select);
}

// Dotted keys may break at their dots.
const breakable = (key) => key.split(/(?<=[.])/).flatMap((part, at) => (at ? [el("wbr"), part] : [part]));

// ---- numbers ----------------------------------------------------------------------------------------------

const known = (value) => typeof value === "number" && Number.isFinite(value);

function digits(value, count = 4) {
  if (!known(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(count - 1).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(count)));
}

const counted = (value) => (known(value) ? Math.round(value).toLocaleString("en") : "–");

function duration(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 60) return `${digits(seconds, 2)} s`;
  if (seconds < 3600) return `${digits(seconds / 60, 2)} min`;
  return seconds < 172800 ? `${digits(seconds / 3600, 3)} h` : `${digits(seconds / 86400, 3)} days`;
}

// To as many places as the spread leaves meaning.
function meanAndSpread({ mean: middle, spread }) {
  if (!known(middle) || !known(spread)) return digits(middle);
  if (spread === 0) return `${digits(middle)} ± 0`;
  const places = 1 - Math.floor(Math.log10(spread));
  if (places > 6 || Math.max(Math.abs(middle), spread) >= 1e7) return `${digits(middle)} ± ${digits(spread, 2)}`;
  const rounded = (value) => (places < 0 ? Math.round(value * 10 ** places) / 10 ** places : value); // 12345 to 12300
  return `${rounded(middle).toFixed(Math.max(places, 0))} ± ${rounded(spread).toFixed(Math.max(places, 0))}`;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const plural = (count, one, several) => `${counted(count)} ${count === 1 ? one : several || `${one}s`}`;

// ---- runs and groups --------------------------------------------------------------------------------------

// The end of a dotted key, as long as it takes to tell it from the others.
function shortOf(key) {
  const parts = key.name.split(".");
  const ends = parts.map((_, at) => parts.slice(at).join(".")).reverse();
  return ends.find((end) => state.set.keys.every(({ name }) => name === key.name || !`.${name}`.endsWith(`.${end}`))) || key.name;
}

// A key's value as it is read best; what is typed has all digits.
const prettyOf = (key, text) => (key.numbers && text !== UNKNOWN ? digits(Number(text)) : text);

const nameOf = (group) =>
  state.set.keys.map((key, at) => `${shortOf(key)}=${prettyOf(key, group.values[at])}`).join("  ") || (group.known ? "all settings alike" : "settings not known");
const runsOf = (group) => group.runs.map((at) => state.set.runs[at]);
const measureOf = () => state.set.measures.find((measure) => measure.key === state.measure) || state.set.measures[0];

function valueOf(run, measure) {
  const value = ["best", "last", "speed", "seconds"].includes(measure) ? run[measure]
    : run.metrics[measure] ?? run.losses[measure];
  return known(value) ? value : null;
}

// 0 is the worst of all values and 1 the best; where neither is better, the lowest and the highest.
function qualityBy(values, goal) {
  const scale = scaleOf(values, [0, 1]);
  return (value) => (goal === "lower" ? 1 - scale(value) : scale(value));
}

// ---- filtering: words that must all occur, and comparisons of numbers -------------------------------------

function textOf(group) {
  group.text ??= [
    ...state.set.keys.map((key, at) => `${key.name}=${group.values[at]}`), ...Object.keys(group.states), ...Object.keys(group.alarms), group.unfinished ? "so far" : "",
    ...runsOf(group).flatMap((run) => [run.name, `seed=${run.seed}`, run.error, run.device, run.precision,
      run.problems.length ? "incomplete" : ""]),
  ].join(" ").toLowerCase();
  return group.text;
}

function numberOf(group, key) {
  const own = { best: group.best.mean, objective: group.best.mean, last: group.last.mean, runs: group.runs.length,
    speed: group.speed.mean, seconds: group.seconds.mean };
  if (key in own) return own[key];
  const at = state.set.keys.findIndex(({ name }) => name.toLowerCase() === key || name.toLowerCase().endsWith(`.${key}`));
  const value = at < 0 || group.values[at] === UNKNOWN ? NaN : Number(group.values[at]);
  return Number.isNaN(value) ? null : value;
}

function passes(group) {
  return state.filter.toLowerCase().split(/\s+/).filter(Boolean).every((word) => {
    const found = /^([\w.@/]+)(<=|>=|<|>)(-?[\d.]+(?:e[+-]?\d+)?)$/.exec(word);
    if (!found) return textOf(group).includes(word);
    const [value, limit] = [numberOf(group, found[1]), Number(found[3])];
    if (!known(value)) return false;
    return { "<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit }[found[2]];
  });
}

const shownGroups = () => state.set.groups.filter(passes);

// ---- colours: a group keeps its own as long as it is drawn ------------------------------------------------

const colourOf = (group) => state.drawn.indexOf(group);
const drawBest = () => { state.drawn = shownGroups().slice(0, Math.min(6, COLOURS)); };

function draw(group, wanted) {
  const at = colourOf(group);
  if (wanted && at < 0) {
    const free = state.drawn.findIndex((drawn) => drawn === null);
    if (free >= 0) state.drawn[free] = group;
    else if (state.drawn.length < COLOURS) state.drawn.push(group);
    else {
      say(`${COLOURS} rows are drawn already; the first of them makes room.`);
      state.drawn[0] = group;
    }
  } else if (!wanted && at >= 0) state.drawn[at] = null;
}

// ---- saying and copying -----------------------------------------------------------------------------------

const say = (text) => { $("said").textContent = text; };

function tip(event, lines) {
  const box = $("tip");
  box.replaceChildren(...lines.map((line) => (typeof line === "string" ? el("div", {}, line) : line)));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = Math.min(event.clientX + 14, window.innerWidth - width - 8);
  const top = event.clientY + 16 + height > window.innerHeight ? event.clientY - height - 10 : event.clientY + 16;
  box.style.left = `${Math.max(8, left)}px`;
  box.style.top = `${Math.max(8, top)}px`;
}

const untip = () => { $("tip").hidden = true; };
const tipped = (lines) => ({ onpointermove: (event) => tip(event, lines()), onpointerleave: untip });

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a browser that keeps the clipboard from pages on disk
    const box = el("textarea", { class: "unseen", readonly: true }, text);
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
  return true;
}

function copyButton(command, what, label = "Copy") {
  if (!command) return null;
  const button = el("button", {
    type: "button", class: "copy", title: command, "aria-label": `Copy the command of ${what}`,
    onclick: async (event) => {
      event.stopPropagation();
      const done = await copied(command);
      button.textContent = done ? "Copied" : "Not allowed";
      say(done ? `Copied: ${command}` : "The browser does not allow copying.");
      setTimeout(() => { button.textContent = label; }, 1500);
    },
  }, label);
  return button;
}
