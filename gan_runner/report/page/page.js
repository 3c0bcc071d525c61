// The page as a whole: what is shown at first, what changes all of it, and light or dark.

function choose(set) {
  state.set = set;
  Object.assign(state, { open: new Set(), drawn: [], across: null, down: null, seed: "", curve: "", time: Math.max(0, set.times.length - 1) });
  state.measure = set.measures[0].key;
  state.sort = set.objective ? { by: "best", down: startsDown("best") } : { by: `key:${set.keys[0]?.name ?? ""}`, down: false };
  const found = points();
  const lines = set.keys.map((key, at) => ({ key, size: effectOf(found, key, at)?.size ?? -1 }))
    .filter(({ key }) => key.values.length <= MOST_LINES).sort((a, b) => b.size - a.size);
  [state.columns, state.rows] = [lines[0]?.key.name ?? "", lines[1]?.key.name ?? ""];
  fitImages(set);
  drawBest();
  timebar();
  renderSets();
  renderOverview();
  renderAll();
}

function renderAll() {
  renderTable();
  renderMattered();
  renderCurves();
  renderImages();
}

function later(work, milliseconds) {
  let waiting = 0;
  return () => { clearTimeout(waiting); waiting = setTimeout(work, milliseconds); };
}

$("title").textContent = page.title;
$("footer").textContent = `Written by gan-compare on ${page.made}.`;
const filterSoon = later(renderAll, 120);
$("filter").addEventListener("input", (event) => { state.filter = event.target.value; filterSoon(); });
window.addEventListener("resize", later(() => { renderMattered(); renderCurves(); }, 150));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") untip();
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    $("filter").focus();
  }
});

const kept = { // a browser may keep pages on disk from remembering anything
  get theme() { try { return localStorage.getItem("gan-compare-theme"); } catch { return null; } },
  set theme(name) { try { localStorage.setItem("gan-compare-theme", name); } catch { /* it is set for this time */ } },
};
if (kept.theme) document.documentElement.dataset.theme = kept.theme;
$("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  document.documentElement.dataset.theme = kept.theme = now === "dark" ? "light" : "dark";
});

choose(page.sets[0]);
