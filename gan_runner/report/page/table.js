// The overview and the table: a row a group, which opens into its runs.

function columnsOf(set) {
  const keys = set.keys.map((key, at) => ({
    id: `key:${key.name}`, title: breakable(key.name), label: key.name, key: true,
    value: (group) => (key.numbers ? key.numbers[key.values.indexOf(group.values[at])] : group.values[at]),
    cell: (group) => prettyOf(key, group.values[at]),
  }));
  const objective = set.objective ? [
    { id: "best", title: ["best"], label: `best ${set.objective}`, number: true, value: (group) => group.best.mean,
      cell: (group) => el("div", { class: "interval" }, intervalOf(group.best), el("span", {}, meanAndSpread(group.best))) },
    { id: "last", title: ["last"], label: `last ${set.objective}`, number: true, value: (group) => group.last.mean,
      cell: (group) => meanAndSpread(group.last) },
  ] : [];
  return [
    ...(keys.length ? keys : [{ id: "key:", title: ["settings"], label: "settings", key: true, value: () => "",
      cell: (group) => (group.known ? "all alike" : "not known") }]),
    { id: "runs", title: ["runs"], label: "runs", number: true, value: (group) => group.runs.length, cell: averagedOf },
    ...objective,
    { id: "alarms", title: ["alarms"], label: "alarms", value: alarmCount, cell: alarmsOf },
    { id: "status", title: ["status"], label: "status", value: (group) => Object.keys(group.states).sort().join(), cell: statesOf },
    { id: "speed", title: ["images/s"], label: "images per second", number: true, value: (group) => group.speed.mean,
      cell: (group) => counted(group.speed.mean) },
    { id: "seconds", title: ["time"], label: "time", number: true, value: (group) => group.seconds.mean,
      cell: (group) => duration(group.seconds.mean) },
  ];
}

const STATES = ["finished", "pruned", "running", "waiting", "interrupted", "failed"];
const inOrder = (states) => [
  ...STATES.filter((name) => name in states), ...Object.keys(states).filter((name) => !STATES.includes(name)),
].map((name) => [name, states[name]]);
const alarmCount = (group) => Object.values(group.alarms).reduce((sum, count) => sum + count, 0);
const badge = (text, kind, title) => el("span", { class: `badge ${kind}`, title }, text);
const kindOf = (status) =>
  STATES.includes(status) ? `is-${status}` : "is-other";

function averagedOf(group) {
  const { count } = group.best;
  if (!state.set.objective || count === group.runs.length) return String(group.runs.length);
  return el("span", { class: "few", title: `${count} of ${plural(group.runs.length, "run")} averaged` },
    `${count} of ${group.runs.length}`);
}

function alarmsOf(group) {
  return Object.entries(group.alarms).map(([name, count]) => badge(
    group.runs.length > 1 ? `${name} ×${count}` : name, "alarm",
    runsOf(group).flatMap((run) => run.alarms.filter((alarm) => alarm.name === name).slice(0, 1)
      .map((alarm) => `seed ${run.seed}: ${alarm.message}`)).join("\n")));
}

function statesOf(group) {
  const badges = inOrder(group.states).map(([status, count]) =>
    badge(group.runs.length > 1 ? `${count} ${status}` : status, kindOf(status)));
  if (group.unfinished && group.best.count) badges.push(el("span", { class: "muted" }, "so far"));
  if (runsOf(group).some((run) => run.problems.length)) badges.push(badge("incomplete", "is-failed", "Some files are missing or cannot be read"));
  return badges;
}

let intervals = null; // the scale of all means that are shown

// Where a mean and its spread lie among them.
function intervalOf({ mean: middle, spread }) {
  if (!known(middle) || !intervals) return null;
  const x = intervals;
  const at = (value) => Math.max(1, Math.min(63, x(value))).toFixed(1);
  return svg("svg", { width: 64, height: 12, viewBox: "0 0 64 12", "aria-hidden": "true" },
    svg("line", { class: "track", x1: 1, x2: 63, y1: 6, y2: 6 }),
    known(spread) ? svg("line", { class: "spread", x1: at(middle - spread), x2: at(middle + spread), y1: 6, y2: 6 }) : null,
    svg("circle", { cx: at(middle), cy: 6, r: 3 }));
}

function sorted(groups) {
  const column = columnsOf(state.set).find(({ id }) => id === state.sort.by);
  if (!column) return groups;
  const way = state.sort.down ? -1 : 1;
  return groups.map((group) => [column.value(group), group]).sort(([a, one], [b, other]) => {
    const [noA, noB] = [a, b].map((value) => value === null || value === undefined || value === UNKNOWN);
    if (noA || noB) return noA - noB; // what is not known comes last either way
    if (column.id === "best" && !one.lost !== !other.lost) return one.lost ? 1 : -1; // so do means of survivors alone
    if (typeof a === "number" && typeof b === "number") return way * (a - b);
    return way * String(a).localeCompare(String(b), "en", { numeric: true });
  }).map(([, group]) => group);
}

function sortBy(column) {
  if (state.sort.by === column.id) state.sort.down = !state.sort.down;
  else state.sort = { by: column.id, down: startsDown(column.id) };
  renderTable();
  if (isList()) renderImages();
  document.querySelector(`[data-sort="${CSS.escape(column.id)}"]`)?.focus();
  say(`Sorted by ${column.label}, ${state.sort.down ? "highest" : "lowest"} first`);
}

const startsDown = (id) => id === "alarms" || id === "speed" || (id === "best" && state.set.goal === "higher");

function renderTable() {
  const columns = columnsOf(state.set);
  const groups = sorted(shownGroups());
  const means = groups.map((group) => group.best.mean).filter(known);
  intervals = means.length > 1 ? scaleOf(means, [4, 60]) : null;
  const head = el("tr", {},
    el("th", { scope: "col", class: "lead" }, el("span", { class: "unseen" }, "Open and draw")),
    columns.map((column) => {
      const sorting = state.sort.by === column.id;
      return el("th", {
        scope: "col", class: column.number ? "number" : null,
        "aria-sort": sorting ? (state.sort.down ? "descending" : "ascending") : null,
      }, el("button", { type: "button", "data-sort": column.id, title: `Sort by ${column.label}`, onclick: () => sortBy(column) },
        el("span", {}, ...column.title), el("span", { class: "arrow", "aria-hidden": "true" }, sorting ? (state.sort.down ? "▼" : "▲") : "")));
    }),
    el("th", { scope: "col" }, "command"));
  const leader = leaderOf(state.set);
  const body = groups.flatMap((group) => [groupRow(group, columns, group === leader),
    ...(state.open.has(group) ? runsOf(group).map((run) => runRow(run, columns)) : [])]);
  const table = el("table", {}, el("thead", {}, head), el("tbody", {}, body));
  $("table").replaceChildren(groups.length ? table : el("p", { class: "empty" }, "No row holds all of these words."));
  const runs = groups.reduce((sum, group) => sum + group.runs.length, 0);
  $("shown").textContent = groups.length === state.set.groups.length
    ? `A row is a setting, whose seeds are averaged: ± is the sample's standard deviation.`
    : `${groups.length} of ${plural(state.set.groups.length, "row")}, ${plural(runs, "run")}`;
}

function groupRow(group, columns, leads) {
  const colour = colourOf(group);
  const open = state.open.has(group);
  const name = nameOf(group);
  const run = runsOf(group)[0];
  return el("tr", { class: `group${leads ? " leads" : ""}`, "data-group": state.set.groups.indexOf(group) },
    el("td", { class: "lead" },
      el("button", {
        type: "button", class: "open", "aria-expanded": String(open), "aria-label": `${open ? "Close" : "Open"} the runs of ${name}`,
        onclick: () => {
          state.open[open ? "delete" : "add"](group);
          renderTable();
          document.querySelector(`[data-group="${state.set.groups.indexOf(group)}"] .open`)?.focus();
        },
      }, "▸"),
      el("input", {
        type: "checkbox", class: colour < 0 ? "draw" : `draw c${colour}`, checked: colour >= 0, title: "Draw in the curves",
        "aria-label": `Draw ${name}`,
        onchange: (event) => {
          draw(group, event.target.checked);
          renderTable();
          renderMattered();
          renderCurves();
          document.querySelector(`[data-group="${state.set.groups.indexOf(group)}"] .draw`)?.focus();
        },
      })),
    columns.map((column) => el("td", { class: [column.number ? "number" : "", column.key ? "key" : ""].join(" ").trim() || null },
      column.cell(group))),
    el("td", {}, copyButton(group.command || run.command, name)));
}

function runRow(run, columns) {
  const cells = {
    runs: "",
    best: [digits(run.best), known(run.bestIteration) ? el("span", { class: "muted" }, ` at ${counted(run.bestIteration)}`) : null],
    last: [digits(run.last), known(run.iterations) ? el("span", { class: "muted" }, ` at ${counted(run.iterations)}`) : null],
    alarms: run.alarms.map((alarm) => el("details", { class: "alarm-text" },
      el("summary", {}, `${alarm.name} at ${counted(alarm.iteration)}`), alarm.message)),
    status: badge(run.status, kindOf(run.status)),
    speed: counted(run.speed),
    seconds: duration(run.seconds),
  };
  const keys = columns.filter((column) => column.key).length;
  const facts = [known(run.epochs) ? `epoch ${digits(run.epochs)}` : "", run.device, run.precision,
    run.status !== "finished" && run.written ? `last wrote ${new Date(1000 * run.written).toLocaleString("sv").slice(0, 16)}` : ""];
  return el("tr", { class: "run" },
    el("td", { class: "lead" }),
    el("td", { colspan: keys, class: "key" },
      el("span", {}, run.seed === null ? "seed not known" : `seed ${run.seed}`),
      el("span", { class: "muted" }, ` ${facts.filter(Boolean).join(", ")}`),
      el("div", { class: "folder" }, run.name),
      run.error ? el("div", { class: "error" }, run.error) : null,
      run.problems.map((problem) => el("div", { class: "error" }, problem))),
    columns.filter((column) => !column.key).map((column) =>
      el("td", { class: column.number ? "number" : null }, cells[column.id])),
    el("td", {}, copyButton(run.command, `seed ${run.seed}`)));
}

function renderSets() {
  const several = page.sets.length > 1;
  $("sets").replaceChildren(...(several ? [
    el("p", { class: "notice" },
      `These runs form ${page.sets.length} sets that cannot be compared: their images or their objectives differ. Each set is shown separately.`),
    el("div", { class: "tabs", role: "group", "aria-label": "Sets of runs that compare" }, page.sets.map((set) =>
      el("button", { type: "button", "aria-pressed": String(set === state.set), onclick: () => choose(set) },
        el("strong", {}, set.title), el("span", {}, ` ${plural(set.runs.length, "run")}`)))),
  ] : []));
}

// The best row of which no run failed or was pruned: a mean of survivors alone is not the best of anything.
const leaderOf = (set) => (set.goal ? set.groups.find((group) => known(group.best.mean) && !group.lost) : null);

// How far the best row can be told from the others. Without a spread a row can be told from none.
function doubtOf(best) {
  if (best.best.count < 2) return best.runs.length > 1 ? "One seed has finished so far." : "One seed: others would tell whether it is luck.";
  const others = state.set.groups.filter((group) => group !== best && known(group.best.mean));
  const alone = others.filter((group) => !known(group.best.spread)).length;
  const close = others.filter((group) => known(group.best.spread)
    && Math.abs(group.best.mean - best.best.mean) <= group.best.spread + best.best.spread).length;
  return [
    close ? `${plural(close, "other row")} ${close === 1 ? "differs" : "differ"} by no more than both standard deviations together.` : "",
    alone ? `${plural(alone, "other row")} of one run: no spread to judge by.` : "",
  ].filter(Boolean).join(" ");
}

function renderOverview() {
  const set = state.set;
  const states = {};
  for (const run of set.runs) states[run.status] = (states[run.status] || 0) + 1;
  const seeds = new Set(set.runs.map((run) => run.seed).filter((seed) => seed !== null)).size;
  const best = leaderOf(set);
  const seconds = set.runs.reduce((sum, run) => sum + (run.seconds || 0), 0);
  const card = (title, ...content) => el("div", { class: "card" }, el("h3", {}, title), ...content);
  $("overview").replaceChildren(
    el("div", { class: "facts" },
      best ? card("Best row", el("p", { class: "big" }, meanAndSpread(best.best),
        el("span", { class: "muted" }, ` of ${plural(best.best.count, "run")}`)),
        el("p", { class: "chips" }, set.keys.map((key, at) => el("span", { class: "chip" }, el("span", { class: "muted" }, `${key.name} `), prettyOf(key, best.values[at])))),
        el("p", { class: "muted" }, doubtOf(best)),
        copyButton(best.command || runsOf(best)[0].command, "the best row", "Copy its command")) : null,
      card("Runs", el("p", { class: "big" }, plural(set.runs.length, "run"),
        el("span", { class: "muted" }, ` in ${plural(set.groups.length, "row")}, ${plural(seeds, "seed")}`)),
        el("p", { class: "chips" }, inOrder(states).map(([status, count]) => badge(`${count} ${status}`, kindOf(status)))),
        el("p", { class: "muted" }, seconds ? `${duration(seconds)} of training in all` : "")),
      card("Data and objective", el("p", {}, set.data), el("p", {}, set.objective
        ? `${set.objective}${set.goal ? `, ${set.goal} is better` : ""}` : "no objective: the runs were not evaluated"),
        set.measured ? el("p", { class: "muted" }, set.measured) : null)),
    ...set.notes.map((note) => el("p", { class: "notice" }, note)),
    page.problems.length ? el("details", { class: "notice", open: page.problems.length <= 3 },
      el("summary", {}, `${plural(page.problems.length, "file")} missing or unreadable; the rest is shown`),
      el("ul", {}, page.problems.map((problem) => el("li", {}, problem)))) : "");
}
