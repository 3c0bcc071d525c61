// The same latents of every run, in a matrix by two keys, with one slider through time for all of them.

const MOST_LINES = 12; // values of a key up to which it makes rows or columns
let playing = null;

const atTime = (run) => {
  const time = state.set.times[state.time];
  return run.strip.iterations.reduce((found, iteration, at) => (iteration <= time ? at : found), -1);
};

const boxes = new Map(); // by run: what shows its image

function imageOf(run) {
  const { strip } = run;
  const box = el("div", { class: "image", role: "img" });
  const factor = state.size * (strip.width < 80 ? 2 : 1);
  box.style.backgroundImage = `url("data:image/webp;base64,${strip.data}")`;
  box.style.width = `${strip.width * factor}px`;
  box.style.height = `${strip.height * factor}px`;
  box.style.backgroundSize = `${strip.width * factor}px ${strip.height * strip.iterations.length * factor}px`;
  boxes.set(run, { box, height: strip.height * factor, note: el("span", { class: "muted" }) });
  if (!strip.names.length) return box;
  const names = el("div", { class: "names" }, strip.names.map((name) => el("span", { title: name }, name)));
  names.style.height = box.style.height; // a name beside each row
  return el("div", { class: "named" }, names, box);
}

function showTime() {
  const time = state.set.times[state.time];
  for (const [run, { box, height, note }] of boxes) {
    const at = atTime(run);
    box.classList.toggle("none", at < 0);
    box.style.backgroundPositionY = `${-at * height}px`;
    const iteration = run.strip.iterations[at];
    box.setAttribute("aria-label", at < 0 ? "no image yet" : `images of seed ${run.seed} at iteration ${iteration}`);
    note.textContent = at >= 0 && iteration !== time ? ` at ${counted(iteration)}` : "";
  }
  const slider = $("time");
  if (slider) {
    slider.value = state.time;
    slider.setAttribute("aria-valuetext", `iteration ${time}`);
    $("time-words").textContent = `iteration ${counted(time)}`;
  }
}

function withCaption(run, caption) {
  const box = run.strip ? imageOf(run) : el("div", { class: "image none never" }, "no images");
  const value = state.set.objective && known(run.best) ? digits(run.best) : "";
  return el("figure", { class: "shot" }, box, el("figcaption", {}, caption, value ? el("span", { class: "muted" }, ` ${value}`) : null,
    run.status === "finished" ? null : [" ", badge(run.status, kindOf(run.status))], run.strip ? boxes.get(run).note : null));
}

const orderOf = (group) => state.set.keys.reduce((order, key, at) => order * key.values.length + key.values.indexOf(group.values[at]), 0);

// As much as fits into the width of the page: all seeds in the middle size, or in the small one, or the first seed alone.
function fitImages(set) {
  const width = set.runs.find(({ strip }) => strip)?.strip.width ?? 0;
  const values = (name) => set.keys.find((key) => key.name === name)?.values.length ?? 1;
  const across = values(state.columns) * Math.ceil(set.runs.length / values(state.columns) / values(state.rows));
  const names = set.runs.some(({ strip }) => strip?.names.length) ? 70 : 0;
  const room = $("matrix").clientWidth - 110;
  state.size = across * (width * 2 + names + 14) > room ? 1 : 2;
  state.seed = across * (width + names + 12) > room ? set.runs.find(({ seed }) => seed !== null)?.seed ?? "" : "";
}

function imageTools() {
  const { set } = state;
  const keys = set.keys.filter(({ values }) => values.length <= MOST_LINES).map(({ name }) => [name, name]);
  const seeds = [...new Set(set.runs.map(({ seed }) => seed))].filter((seed) => seed !== null);
  const change = (what) => (value) => {
    if (value && what === "rows" && value === state.columns) state.columns = state.rows;
    if (value && what === "columns" && value === state.rows) state.rows = state.columns;
    state[what] = value;
    renderImages();
  };
  $("image-tools").replaceChildren(
    keys.length ? choice("rows", [["", "–"], ...keys], state.rows, change("rows"), "image-rows") : "",
    keys.length ? choice("columns", [["", "–"], ...keys], state.columns, change("columns"), "image-columns") : "",
    seeds.length > 1 ? choice("seed", [["", "all"], ...seeds.map((seed) => [seed, seed])], state.seed, change("seed"), "image-seed") : "",
    choice("size", [["1", "small"], ["2", "middle"], ["3", "large"]], String(state.size), (size) => { state.size = Number(size); renderImages(); }, "image-size"));
}

function timebar() {
  const { times } = state.set;
  const stop = () => { clearInterval(playing); playing = null; button.textContent = "▶"; button.setAttribute("aria-label", "Play"); };
  const slider = el("input", { id: "time", type: "range", min: 0, max: times.length - 1, step: 1, value: state.time, "aria-label": "Time",
    oninput: () => { state.time = Number(slider.value); showTime(); } });
  const button = el("button", { id: "play", type: "button", "aria-label": "Play", onclick: () => {
    if (playing) return stop();
    button.textContent = "❚❚";
    button.setAttribute("aria-label", "Pause");
    if (state.time === times.length - 1) state.time = -1;
    playing = setInterval(() => {
      state.time += 1;
      showTime();
      if (state.time === times.length - 1) stop();
    }, 500);
    return undefined;
  } }, "▶");
  clearInterval(playing);
  playing = null;
  $("timebar").replaceChildren(...(times.length > 1 ? [button, slider, el("output", { id: "time-words", for: "time" })] : []));
}

const isList = () => !state.set.keys.some(({ name }) => name === state.rows || name === state.columns);

function renderImages() {
  const { set } = state;
  boxes.clear();
  const cells = [...new Set(set.runs.map(({ strip }) => strip?.cells.join(", ")))].filter(Boolean);
  $("cells").hidden = !cells.length;
  $("cells").textContent = `Cells that belong together, from the left: ${cells.join("; or: ")}.`;
  const matrix = $("matrix");
  if (!set.runs.some(({ strip }) => strip)) {
    $("image-tools").replaceChildren();
    $("timebar").replaceChildren();
    matrix.replaceChildren(el("p", { class: "empty" }, "No run has drawn images yet."));
    return;
  }
  imageTools();
  const at = (name) => set.keys.findIndex((key) => key.name === name);
  const [rows, columns] = [at(state.rows), at(state.columns)];
  const list = isList(); // in the table's order; a matrix has the order of the keys in its cells too
  const groups = list ? sorted(shownGroups()) : [...shownGroups()].sort((a, b) => orderOf(a) - orderOf(b));
  const runs = groups.flatMap((group) => runsOf(group).filter((run) => !state.seed || run.seed === state.seed).map((run) => ({ run, group })));
  const caption = ({ run, group }) => [...set.keys.map((key, nth) => (nth === rows || nth === columns ? "" : `${shortOf(key)}=${prettyOf(key, group.values[nth])}`)),
    run.seed === null ? "" : `seed\u00a0${run.seed}`].filter(Boolean).join("  ") || run.name;
  const shots = (some) => some.map((one) => withCaption(one.run, caption(one)));
  if (list) matrix.replaceChildren(el("div", { class: "shots" }, shots(runs)));
  else {
    const valuesOf = (nth) => (nth < 0 ? [null] : set.keys[nth].values.filter((value) => groups.some((group) => group.values[nth] === value)));
    const inside = (row, column) => runs.filter(({ group }) => (rows < 0 || group.values[rows] === row) && (columns < 0 || group.values[columns] === column));
    const heading = (nth, value) => [el("span", { class: "muted" }, `${set.keys[nth].name} `), prettyOf(set.keys[nth], value)];
    matrix.replaceChildren(el("table", { class: "matrix" },
      columns < 0 ? null : el("thead", {}, el("tr", {}, rows < 0 ? null : el("td", {}), valuesOf(columns).map((value) => el("th", { scope: "col" }, heading(columns, value))))),
      el("tbody", {}, valuesOf(rows).map((row) => el("tr", {}, rows < 0 ? null : el("th", { scope: "row" }, heading(rows, row)),
        valuesOf(columns).map((column) => el("td", {}, el("div", { class: "shots" }, shots(inside(row, column))))))))));
  }
  showTime();
}
