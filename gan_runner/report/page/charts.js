// Charts in SVG: the objective against each key, two keys together, all keys at once, and curves over the iterations.

// ---- scales -----------------------------------------------------------------------------------------------

const spansDecades = (values, factor = 30) => least(values) > 0 && most(values) / least(values) >= factor;

// From values to places. Values that span decades get a logarithmic scale.
function scaleOf(values, [start, end], { log = spansDecades(values), pad = 0 } = {}) {
  const turn = log ? Math.log10 : (value) => value;
  let [low, high] = [turn(least(values)), turn(most(values))];
  if (!(high > low)) [low, high] = [low - (Math.abs(low) || 1) * 0.05, high + (Math.abs(high) || 1) * 0.05];
  [low, high] = [low - pad * (high - low), high + pad * (high - low)];
  const scale = (value) => start + ((turn(value) - low) / (high - low)) * (end - start);
  const back = (turned) => (log ? 10 ** turned : turned);
  return Object.assign(scale, { log, low: back(low), high: back(high) });
}

function ticksOf(scale, wanted = 5) {
  const { low, high, log } = scale;
  if (log) {
    const decades = Math.log10(high) - Math.log10(low);
    const steps = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 5];
    const all = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++)
      for (const step of steps) all.push(Number(`${step}e${power}`));
    const within = all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    const every = Math.ceil(within.length / (wanted + 1));
    if (within.length > 1) return within.filter((_, at) => at % every === 0);
  }
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const ticks = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) ticks.push(Number(value.toPrecision(12)));
  return ticks;
}

const short = (value) => (Math.abs(value) >= 1e4 && Math.abs(value) < 1e7 && Number.isInteger(value / 100)
  ? `${Number((value / 1000).toPrecision(4))}k` : digits(value, 4));

// ---- the frame of a chart ---------------------------------------------------------------------------------

function frame(width, height, label, { left = 52, right = 20, top = 10, bottom = 26 } = {}) {
  const root = svg("svg", { class: "chart", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  return { root, width, height, x0: left, x1: width - right, y0: height - bottom, y1: top };
}

function yAxis(chart, scale) {
  for (const value of ticksOf(scale, Math.max(3, Math.round((chart.y0 - chart.y1) / 34)))) {
    const y = scale(value);
    if (y > chart.y0 + 1 || y < chart.y1 - 1) continue;
    chart.root.append(svg("line", { class: "grid", x1: chart.x0, x2: chart.x1, y1: y, y2: y }),
      svg("text", { class: "tick", x: chart.x0 - 6, y: y + 3.5, "text-anchor": "end" }, short(value)));
  }
}

function xAxis(chart, ticks) { // [place, text]
  let right = -Infinity;
  for (const [x, text] of ticks) {
    const half = Math.min(text.length, 16) * 3.1;
    if (x - half < right + 6) continue;
    right = x + half;
    chart.root.append(svg("text", { class: "tick", x: Math.min(x, chart.width - half - 1), y: chart.y0 + 16, "text-anchor": "middle" },
      text.length > 16 ? `${text.slice(0, 15)}…` : text));
  }
  chart.root.append(svg("line", { class: "axis", x1: chart.x0, x2: chart.x1, y1: chart.y0, y2: chart.y0 }));
}

const card = (title, hint, ...content) => el("figure", { class: "card" },
  el("figcaption", {}, el("strong", {}, ...[title].flat()), hint ? el("span", { class: "muted" }, ` ${hint}`) : null), ...content);

const widthOf = (box, least_ = 300) => {
  const style = getComputedStyle(box);
  const columns = style.gridTemplateColumns.split(" ").filter((size) => size.endsWith("px"));
  return Math.max(least_, (columns.length ? parseFloat(columns[0]) : box.clientWidth) - 26);
};

// ---- what mattered ----------------------------------------------------------------------------------------

// The runs that are averaged and have the measure, with their groups' values.
function points() {
  const measure = measureOf();
  return shownGroups().flatMap((group) => runsOf(group).filter((run) => run.counts)
    .map((run) => ({ run, group, y: valueOf(run, measure.key) })).filter(({ y }) => y !== null));
}

function byValue(found, at) {
  const bins = new Map();
  for (const point of found) {
    const value = point.group.values[at];
    if (!bins.has(value)) bins.set(value, []);
    bins.get(value).push(point);
  }
  return bins;
}

const squares = (values) => { const middle = mean(values); return values.reduce((sum, value) => sum + (value - middle) ** 2, 0); };

function ranks(values) {
  const order = values.map((value, at) => [value, at]).sort(([a], [b]) => a - b);
  const result = new Array(values.length);
  for (let start = 0, end; start < order.length; start = end) {
    for (end = start; end < order.length && order[end][0] === order[start][0]; end++);
    for (let at = start; at < end; at++) result[order[at][1]] = (start + end - 1) / 2;
  }
  return result;
}

const FEWEST = 4; // degrees of freedom left, below which noise accounts for half of the variance too often

// How much a key by itself tells about the measure: the share of the variance between runs that its values account for,
// adjusted for how many values there are (epsilon squared); where hardly any value comes twice, the rank correlation,
// whose square is adjusted likewise. With fewer degrees of freedom there is no size, only words.
function effectOf(found, key, at) {
  const bins = [...byValue(found, at).values()];
  const ys = found.map(({ y }) => y);
  const total = squares(ys);
  if (bins.length < 2 || !(total > 0)) return null;
  const runs = `${found.length} runs`;
  const few = { size: -1, words: `${runs}: too few to say what it accounts for` };
  if (found.length >= 1.5 * bins.length) {
    if (found.length - bins.length < FEWEST) return few;
    const within = bins.reduce((sum, bin) => sum + squares(bin.map(({ y }) => y)), 0);
    const share = 1 - (within / (found.length - bins.length)) / (total / (found.length - 1));
    return { size: Math.max(0, share), words: `accounts for ${Math.round(100 * Math.max(0, share))}% of the variance of ${runs}` };
  }
  if (!key.numbers) return null;
  if (found.length - 2 < FEWEST) return few;
  const [a, b] = [ranks(found.map(({ group }) => key.numbers[key.values.indexOf(group.values[at])])), ranks(ys)];
  const [ma, mb] = [mean(a), mean(b)];
  const r = a.reduce((sum, value, i) => sum + (value - ma) * (b[i] - mb), 0) / Math.sqrt(squares(a) * squares(b));
  const size = Math.max(0, 1 - ((1 - r * r) * (found.length - 1)) / (found.length - 2));
  return { size, words: `rank correlation ${r.toFixed(2)} of ${runs}` };
}

// Places of a key's values along an axis, and its ticks.
function keyAxis(key, [start, end]) {
  if (key.numbers && key.values.length > 1) {
    const cut = key.numbers.length > 8 ? Math.floor(key.numbers.length / 10) : 0; // a few far off do not decide
    const log = least(key.numbers) > 0 && spansDecades(key.numbers.slice(cut, key.numbers.length - cut), 10);
    const scale = scaleOf(key.numbers, [start, end], { log, pad: 0.06 });
    const place = (text) => scale(key.numbers[key.values.indexOf(text)]);
    const ticks = key.values.length <= 8 ? key.values.map((text) => [place(text), prettyOf(key, text)])
      : ticksOf(scale).map((value) => [scale(value), short(value)]);
    return { place, ticks, log: scale.log };
  }
  const step = (end - start) / key.values.length;
  const place = (text) => start + (key.values.indexOf(text) + 0.5) * step;
  return { place, ticks: key.values.map((text) => [place(text), text]), log: false };
}

// A key without the values that no run has come to anything with: they would stretch its axis.
function onlyOf(key, bins) {
  const kept = key.values.map((_, at) => at).filter((at) => bins.has(key.values[at]));
  return { ...key, values: kept.map((at) => key.values[at]), numbers: key.numbers && kept.map((at) => key.numbers[at]) };
}

function keyCard(key, at, found, effect, width) {
  const ys = found.map(({ y }) => y);
  const bins = byValue(found, at);
  const means = key.values.filter((value) => bins.has(value)).map((value) => [value, mean(bins.get(value).map(({ y }) => y)), bins.get(value).length]);
  const chart = frame(width, 210, `${measureOf().label} by ${key.name}. ${means.slice(0, 20).map(([value, middle, count]) =>
    `${value}: mean ${digits(middle)} of ${plural(count, "run")}`).join("; ")}`);
  const y = scaleOf(ys, [chart.y0, chart.y1], { pad: 0.06 });
  const axis = keyAxis(onlyOf(key, bins), [chart.x0, chart.x1]);
  yAxis(chart, y);
  xAxis(chart, axis.ticks);
  if (key.numbers && means.length > 1 && means.length <= 20)
    chart.root.append(svg("path", { class: "means", d: path(means.map(([value, middle]) => [axis.place(value), y(middle)])) }));
  const dots = [[], []]; // those that are drawn in the curves come on top
  bins.forEach((bin, value) => bin.forEach((point, nth) => {
    const wide = means.length <= 20 ? Math.min(22, 2.5 * (bin.length - 1)) : 0;
    const spread = wide * (((nth * 0.618) % 1) - 0.5);
    const colour = colourOf(point.group);
    dots[colour < 0 ? 0 : 1].push(svg("circle", {
      class: `point ${colour < 0 ? "" : `c${colour}`} ${point.run.status === "finished" ? "" : "hollow"}`.trim(),
      cx: axis.place(value) + spread, cy: y(point.y), r: 3.5,
      ...tipped(() => [nameOf(point.group), `seed ${point.run.seed}: ${digits(point.y)}`, point.run.status]),
    }));
  }));
  chart.root.append(svg("g", { opacity: Math.max(0.35, Math.min(1, 40 / found.length)) }, dots[0]), ...dots[1]);
  if (means.length <= 20) for (const [value, middle, count] of means)
    chart.root.append(svg("line", { class: "mean", x1: axis.place(value) - 12, x2: axis.place(value) + 12, y1: y(middle), y2: y(middle),
      ...tipped(() => [`${key.name}=${value}`, `mean ${digits(middle)} of ${plural(count, "run")}`]) }));
  const hollow = found.some(({ run }) => run.status !== "finished");
  const hint = [effect ? effect.words : "", axis.log ? "log scale" : "", hollow ? "hollow: not finished" : ""].filter(Boolean).join("; ");
  return card(breakable(key.name), hint, chart.root);
}

const path = (places) => places.map(([x, y], at) => `${at ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

// A perceptually even scale from dark blue to yellow, which the colour-blind can read too.
const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
function shade(share) {
  const at = Math.max(0, Math.min(1, share)) * (STOPS.length - 1);
  const [from, to] = [STOPS[Math.floor(at)], STOPS[Math.ceil(at)]];
  return `rgb(${from.map((value, i) => Math.round(value + (at % 1) * (to[i] - value))).join(",")})`;
}

// At most a dozen rows or columns: many numbers are put into ranges of about as many runs each.
function binned(key) {
  if (!key.numbers || key.values.length <= 12) return { names: key.values.map((text) => prettyOf(key, text)), of: (text) => key.values.indexOf(text) };
  const count = 8;
  const bin = (place) => Math.min(count - 1, Math.floor((place * count) / key.values.length));
  const names = Array.from({ length: count }, (_, nth) => {
    const inside = key.values.filter((_, place) => bin(place) === nth);
    return `${digits(Number(inside[0]), 2)} to ${digits(Number(inside[inside.length - 1]), 2)}`;
  });
  return { names, of: (text) => bin(key.values.indexOf(text)) };
}

function heatMap(found) {
  const { keys } = state.set;
  const [a, d] = [keys.findIndex(({ name }) => name === state.across), keys.findIndex(({ name }) => name === state.down)];
  if (a < 0 || d < 0 || a === d) return null;
  const [columns, rows] = [binned(keys[a]), binned(keys[d])];
  const cellOf = (group) => `${rows.of(group.values[d])} ${columns.of(group.values[a])}`;
  const cells = new Map();
  for (const point of found) {
    const cell = cellOf(point.group);
    if (!cells.has(cell)) cells.set(cell, []);
    cells.get(cell).push(point.y);
  }
  const means = new Map([...cells].map(([cell, ys]) => [cell, mean(ys)]));
  const measure = measureOf();
  const quality = qualityBy([...means.values()], measure.goal);
  // As of rows: a mean of survivors alone is not the best of anything.
  const lost = new Map();
  for (const group of shownGroups()) lost.set(cellOf(group), (lost.get(cellOf(group)) || 0) + group.lost);
  const leader = measure.goal ? [...means].filter(([cell]) => !lost.get(cell)).reduce((best, entry) => (!best || quality(entry[1]) > quality(best[1]) ? entry : best), null) : null;
  const table = el("table", { class: "heat" },
    el("caption", { class: "unseen" }, `Means of ${measure.label}`),
    el("thead", {}, el("tr", {}, el("th", {}, el("span", { class: "muted" }, `${shortOf(keys[d])} ↓  ${shortOf(keys[a])} →`)),
      columns.names.map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, rows.names.map((name, row) => el("tr", {}, el("th", { scope: "row" }, name),
      columns.names.map((_, column) => {
        const cell = `${row} ${column}`;
        if (!means.has(cell)) return el("td", { class: "none" }, "–");
        const share = quality(means.get(cell));
        const box = el("td", { class: leader && leader[0] === cell ? "leads" : lost.get(cell) ? "survivors" : null,
          ...tipped(() => [`${keys[d].name}=${name}`, `${keys[a].name}=${columns.names[column]}`, `mean ${digits(means.get(cell))} of ${plural(cells.get(cell).length, "run")}`,
            lost.get(cell) ? `${lost.get(cell)} more failed or were pruned` : ""].filter(Boolean)) },
          digits(means.get(cell), 3));
        box.style.background = shade(share);
        box.style.color = share > 0.55 ? "#111" : "#fff";
        return box;
      })))));
  const others = (keys.length > 2 ? "means over the other keys and the seeds" : "means over the seeds")
    + ([...means.keys()].some((cell) => lost.get(cell)) ? "; in italics those of survivors, beside runs that failed or were pruned" : "");
  const pick = (label, now, change, id) => choice(label, keys.map(({ name }) => [name, name]), now, change, id);
  const whole = card("Two keys together", others,
    el("div", { class: "tools" },
      pick("rows", state.down, (name) => { if (name === state.across) state.across = state.down; state.down = name; renderMattered(); }, "heat-rows"),
      pick("columns", state.across, (name) => { if (name === state.across) return; if (name === state.down) state.down = state.across; state.across = name; renderMattered(); }, "heat-columns")),
    el("div", { class: "scroll" }, table), measure.goal ? colourBar("worse", "better") : colourBar("low", "high"));
  if (columns.names.length > 4) whole.classList.add(columns.names.length > 9 ? "across" : "double");
  return whole;
}

function colourBar(low, high) {
  const bar = el("span", { class: "colourbar" });
  bar.style.background = `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(shade).join(",")})`;
  return el("p", { class: "muted" }, `${low} `, bar, ` ${high}`);
}

// A line a row across an axis a key. Dragging along an axis keeps the lines that pass there.
function parallel(found, width) {
  const { keys } = state.set;
  const rows = [...new Set(found.map(({ group }) => group))].map((group) => ({
    group, y: mean(found.filter((point) => point.group === group).map(({ y }) => y)),
  }));
  if (rows.length < 2) return null;
  const measure = measureOf();
  const chart = frame(width, 300, `Parallel coordinates of ${keys.map(({ name }) => name).join(", ")} and ${measure.label}; the table holds the same rows`,
    { left: 46, right: 58, top: 34, bottom: 14 });
  const y = scaleOf(rows.map((row) => row.y), [chart.y0, chart.y1]);
  const quality = qualityBy(rows.map((row) => row.y), measure.goal);
  const axes = keys.map((key, at) => ({ title: key.name, ...keyAxis(key, [chart.y0, chart.y1]), of: (row) => row.group.values[at] }))
    .map((axis) => ({ ...axis, at: (row) => axis.place(axis.of(row)) }));
  axes.push({ title: measure.label, ticks: ticksOf(y).map((value) => [y(value), short(value)]), at: (row) => y(row.y), log: y.log });
  const x = (nth) => chart.x0 + (nth * (chart.x1 - chart.x0)) / (axes.length - 1);
  const brushes = new Map();
  const lines = [...rows].sort((a, b) => quality(a.y) - quality(b.y)).map((row) => {
    const line = svg("path", {
      class: "row", d: path(axes.map((axis, nth) => [x(nth), axis.at(row)])), stroke: shade(0.15 + 0.75 * quality(row.y)), // readable on light and dark
      ...tipped(() => [...keys.map((key, at) => `${key.name}=${row.group.values[at]}`), `${measure.label}: ${digits(row.y)}`]),
    });
    return { row, line };
  });
  chart.root.append(...lines.map(({ line }) => line));
  const redraw = () => lines.forEach(({ row, line }) => line.classList.toggle("off",
    [...brushes].some(([nth, [top, bottom]]) => axes[nth].at(row) < top - 3 || axes[nth].at(row) > bottom + 3)));
  axes.forEach((axis, nth) => {
    const anchor = nth === 0 ? "start" : nth === axes.length - 1 ? "end" : "middle";
    const words = axis.title.length > 24 ? `…${axis.title.slice(-23)}` : axis.title;
    const title = svg("text", { class: "name", x: nth === 0 ? 4 : nth === axes.length - 1 ? chart.width - 4 : x(nth), y: nth % 2 && axes.length > 5 ? 12 : 22, "text-anchor": anchor },
      words, svg("title", {}, axis.title));
    const band = svg("rect", { class: "brush", x: x(nth) - 7, width: 14, y: 0, height: 0 });
    const grip = svg("rect", { class: "grip", x: x(nth) - 13, width: 26, y: chart.y1 - 6, height: chart.y0 - chart.y1 + 12 });
    const placeOf = (event) => event.clientY - chart.root.getBoundingClientRect().top;
    grip.addEventListener("pointerdown", (event) => {
      grip.setPointerCapture(event.pointerId);
      const start = placeOf(event);
      const move = (moved) => {
        const range = [start, placeOf(moved)].sort((a, b) => a - b);
        if (range[1] - range[0] < 4) brushes.delete(nth);
        else brushes.set(nth, range);
        const [top, bottom] = brushes.get(nth) || [0, 0];
        band.setAttribute("y", top);
        band.setAttribute("height", bottom - top);
        redraw();
      };
      move(event);
      grip.addEventListener("pointermove", move);
      grip.addEventListener("pointerup", () => grip.removeEventListener("pointermove", move), { once: true });
    });
    chart.root.append(svg("line", { class: "axis", x1: x(nth), x2: x(nth), y1: chart.y1, y2: chart.y0 }), title, band,
      ...axis.ticks.slice(0, 12).map(([place, text]) => svg("text", { class: "tick halo", x: x(nth) + 6, y: place + 3.5 },
        text.length > 14 ? `${text.slice(0, 13)}…` : text)), grip);
  });
  const whole = card("All keys at once", "a line a row; drag along an axis to keep what passes there", chart.root,
    measure.goal ? colourBar("worse", "better") : colourBar("low", "high"));
  whole.classList.add("across");
  return whole;
}

function renderMattered() {
  const { set } = state;
  const tools = $("mattered-tools");
  tools.replaceChildren(choice("measure", set.measures.map(({ key, label }) => [key, label]), measureOf().key,
    (key) => { state.measure = key; renderMattered(); }, "measure"));
  const found = points();
  const effects = set.keys.map((key, at) => ({ key, at, effect: effectOf(found, key, at) }))
    .sort((a, b) => (b.effect ? b.effect.size : -1) - (a.effect ? a.effect.size : -1));
  if (!state.across && effects.length > 1) [state.across, state.down] = [effects[0].key.name, effects[1].key.name];
  const box = $("matters");
  const nothing = !set.keys.length ? "Nothing but the seed differs between these runs." : !found.length ? "No run has this measure yet." : "";
  box.replaceChildren(...(nothing ? [el("p", { class: "empty" }, nothing)] : [
    ...effects.map(({ key, at, effect }) => keyCard(key, at, found, effect, widthOf(box))),
    set.keys.length > 1 ? heatMap(found) : null,
    set.keys.length > 2 ? parallel(found, box.clientWidth - 26) : null,
  ].filter(Boolean)));
}

// ---- curves -----------------------------------------------------------------------------------------------

const CURVES = { "loss/d": "D's loss", "loss/g": "G's loss", "accuracy/d": "D's accuracy" };
const MOST_BEHIND = 60; // curves that are drawn in grey behind the coloured ones

function curveCard(tag, width) {
  const curves = state.set.curves[tag];
  const all = state.set.groups.map((group, at) => ({ group, curve: curves[at] })).filter(({ group, curve }) => curve && passes(group));
  const drawn = all.filter(({ group }) => colourOf(group) >= 0);
  const behind = all.filter(({ group }) => colourOf(group) < 0).slice(0, MOST_BEHIND);
  const title = CURVES[tag] || tag;
  if (!all.length) return card(title, "", el("p", { class: "empty" }, "Nothing is measured yet."));
  const fitted = drawn.length ? drawn : behind; // what the axes are fitted to
  const chart = frame(width, 240, `${title} over the iterations. ${drawn.slice(0, 8).map(({ group, curve }) =>
    `${nameOf(group)}: ${digits(curve.mean[curve.mean.length - 1])} in the end`).join("; ")}`, { bottom: 28 });
  const x = scaleOf([0, ...all.map(({ curve }) => curve.x[curve.x.length - 1])], [chart.x0, chart.x1], { log: false });
  const ys = fitted.flatMap(({ curve }) => [...curve.low, ...curve.high]);
  const y = tag === "accuracy/d" ? scaleOf([0, 1], [chart.y0, chart.y1], { log: false })
    : scaleOf(ys, [chart.y0, chart.y1], { pad: 0.04, log: spansDecades(ys, 50) });
  const at = (value) => (Number.isFinite(y(value)) ? y(value) : chart.y0 + 50); // below a logarithmic axis lies zero
  yAxis(chart, y);
  xAxis(chart, ticksOf(x).map((value) => [x(value), short(value)]));
  const [w, h] = [chart.x1 - chart.x0 + 8, chart.y0 - chart.y1];
  const inside = svg("svg", { x: chart.x0 - 4, y: chart.y1, width: w, height: h, viewBox: `${chart.x0 - 4} ${chart.y1} ${w} ${h}` });
  chart.root.append(inside); // what leaves it is cut off
  for (const { curve } of behind)
    inside.append(svg("path", { class: "behind", d: path(curve.x.map((place, i) => [x(place), at(curve.mean[i])])) }));
  for (const { group, curve } of drawn) {
    const band = [...curve.x.map((place, i) => [x(place), at(curve.high[i])]), ...curve.x.map((place, i) => [x(place), at(curve.low[i])]).reverse()];
    if (group.runs.length > 1) inside.append(svg("path", { class: `band c${colourOf(group)}`, d: `${path(band)}Z` }));
  }
  for (const { group, curve } of drawn) {
    const places = curve.x.map((place, i) => [x(place), at(curve.mean[i])]);
    inside.append(svg("path", { class: `line c${colourOf(group)}`, d: path(places) }));
    if (places.length <= 12) inside.append(...places.map(([cx, cy]) => svg("circle", { class: `dot c${colourOf(group)}`, cx, cy, r: 2.5 })));
    chart.root.append(...alarmMarks(group, curve, x, at));
  }
  const cross = svg("line", { class: "cross", y1: chart.y1, y2: chart.y0, visibility: "hidden" });
  chart.root.append(cross);
  crosshair(chart, cross, x, drawn.length ? drawn : behind.slice(0, COLOURS));
  const hint = [y.log ? "log scale" : "", drawn.some(({ group }) => group.runs.length > 1) ? "mean, and from lowest to highest of the seeds" : ""];
  return card(title, hint.filter(Boolean).join("; "), chart.root);
}

function alarmMarks(group, curve, x, at) {
  const seen = new Set();
  return runsOf(group).flatMap((run) => run.alarms.map((alarm) => ({ run, alarm }))).filter(({ alarm }) => {
    const mark = `${alarm.name} ${alarm.iteration}`;
    return known(alarm.iteration) && !seen.has(mark) && seen.add(mark);
  }).map(({ run, alarm }) => {
    const nearest = curve.x.reduce((best, place, i) => (Math.abs(place - alarm.iteration) < Math.abs(curve.x[best] - alarm.iteration) ? i : best), 0);
    const [cx, cy] = [x(Math.min(alarm.iteration, curve.x[curve.x.length - 1])), at(curve.mean[nearest])];
    return svg("path", { class: `alarm-mark c${colourOf(group)}`, d: `M${cx} ${cy - 6}l5.5 9.5h-11Z`,
      ...tipped(() => [nameOf(group), `seed ${run.seed}, iteration ${counted(alarm.iteration)}`, alarm.message || alarm.name]) });
  });
}

// What the curves are where the pointer is, or where the arrow keys have moved to.
function crosshair(chart, cross, x, drawn) {
  const stops = [...new Set(drawn.flatMap(({ curve }) => curve.x))].sort((a, b) => a - b);
  if (!stops.length) return;
  let now = stops.length - 1;
  const show = (event) => {
    cross.setAttribute("x1", x(stops[now]));
    cross.setAttribute("x2", x(stops[now]));
    cross.setAttribute("visibility", "visible");
    const lines = drawn.map(({ group, curve }) => {
      const nearest = curve.x.reduce((best, place, i) => (Math.abs(place - stops[now]) < Math.abs(curve.x[best] - stops[now]) ? i : best), 0);
      return el("div", {}, el("span", { class: `swatch c${colourOf(group)}` }), ` ${digits(curve.mean[nearest])} `, el("span", { class: "muted" }, nameOf(group)));
    });
    tip(event, [`iteration ${counted(stops[now])}`, ...lines]);
  };
  const hide = () => { cross.setAttribute("visibility", "hidden"); untip(); };
  filled(chart.root, {
    tabindex: 0,
    onpointermove: (event) => {
      if (event.target.classList.contains("alarm-mark")) return;
      const place = event.clientX - chart.root.getBoundingClientRect().left;
      now = stops.reduce((best, stop, i) => (Math.abs(x(stop) - place) < Math.abs(x(stops[best]) - place) ? i : best), 0);
      show(event);
    },
    onpointerleave: hide,
    onblur: hide,
    onkeydown: (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      now = Math.max(0, Math.min(stops.length - 1, now + step));
      const box = chart.root.getBoundingClientRect();
      show({ clientX: box.left + x(stops[now]), clientY: box.top + 20 });
    },
  }, []);
}

function renderCurves() {
  const { set } = state;
  const metrics = Object.keys(set.curves).filter((tag) => !(tag in CURVES));
  if (!metrics.includes(state.curve)) state.curve = metrics[0] || "";
  $("curve-tools").replaceChildren(
    metrics.length > 1 ? choice("metric", metrics.map((tag) => [tag, tag]), state.curve, (tag) => { state.curve = tag; renderCurves(); }, "curve") : "",
    el("button", { type: "button", onclick: () => { drawBest(); renderAll(); } }, "Draw the best"),
    el("button", { type: "button", onclick: () => { state.drawn = []; renderAll(); } }, "Draw none"));
  $("legend").replaceChildren(...state.drawn.filter((group) => group && passes(group)).map((group) =>
    el("button", { type: "button", class: "chip", title: "Draw no longer", "aria-label": `Draw ${nameOf(group)} no longer`,
      onclick: () => { draw(group, false); renderAll(); } },
      el("span", { class: `swatch c${colourOf(group)}` }), ` ${nameOf(group)} `, el("span", { "aria-hidden": "true" }, "×"))));
  const box = $("curve-cards");
  const tags = ["loss/d", "loss/g", "accuracy/d", state.curve].filter((tag) => set.curves[tag]);
  box.replaceChildren(...tags.map((tag) => curveCard(tag, widthOf(box))));
}
