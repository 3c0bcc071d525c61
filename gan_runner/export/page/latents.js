// What a visitor sees and does.

const $ = (id) => document.getElementById(id);
const cells = 16;

// Random numbers in (0, 1) that follow from a seed (mulberry32, which is in the public domain).
function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (((mixed ^ (mixed >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

function randomValue(random) {
  const { kind, std, low = -Infinity, high = Infinity } = network.latent;
  if (kind === "uniform") return low + (high - low) * random();
  for (;;) {
    const value = std * Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()); // Box and Muller
    if (value >= low && value <= high) return value;
  }
}

const randomLatent = (random) => Float32Array.from({ length: network.latent.dim }, () => randomValue(random));

// From one latent to another. A straight line between two normal latents would lead through shorter ones than G knows.
function between(first, second, place) {
  const straight = network.latent.kind === "uniform" || network.latent.low !== undefined;
  const turn = (place * Math.PI) / 2;
  const [a, b] = straight ? [1 - place, place] : [Math.cos(turn), Math.sin(turn)];
  return first.map((value, at) => a * value + b * second[at]);
}

// A network that is given a class takes ones and zeros behind the latent, a one at the class.
function joined(latent) {
  const one = Number($("class").value);
  return Float32Array.from([...latent, ...network.classes.map((_, number) => Number(number === one))]);
}

const drawOn = (canvas, latent) => show(canvas, imageOf(joined(latent)));

let ends = [], grid = [], asked = 0, playing = false;

const place = () => Number($("place").value) / Number($("place").max);
const showBetween = () => drawOn($("between"), between(ends[0], ends[1], place()));

function showEnds() {
  drawOn($("left"), ends[0]);
  drawOn($("right"), ends[1]);
  showBetween();
}

function showGrid() {
  const random = randomFrom(Number($("seed").value));
  grid = Array.from({ length: cells }, () => randomLatent(random));
  const mine = ++asked;
  const next = (number) => { // one at a time, so that the page answers in between
    if (mine !== asked || number === cells) return;
    drawOn($("grid").children[number].firstChild, grid[number]);
    setTimeout(next, 0, number + 1);
  };
  next(0);
}

function step() {
  if (!playing) return;
  const slider = $("place");
  slider.value = (Number(slider.value) + 10) % (Number(slider.max) + 10);
  showBetween();
  requestAnimationFrame(step);
}

let waiting = false;
$("place").addEventListener("input", () => {
  if (!waiting) requestAnimationFrame(() => { waiting = false; showBetween(); });
  waiting = true;
});
$("ends").addEventListener("click", () => {
  ends = [randomLatent(Math.random), randomLatent(Math.random)];
  showEnds();
});
$("play").addEventListener("click", () => {
  playing = !playing;
  $("play").setAttribute("aria-pressed", String(playing));
  $("play").textContent = playing ? "Stop" : "Play";
  requestAnimationFrame(step);
});
$("more").addEventListener("click", () => {
  $("seed").value = Math.floor(Math.random() * 2 ** 32);
  showGrid();
});
$("seed").addEventListener("change", showGrid);
$("class").addEventListener("change", () => {
  showEnds();
  showGrid();
});

for (const [number, name] of network.classes.entries()) $("class").add(new Option(name, number));
$("classes").hidden = !network.classes.length;

for (let number = 0; number < cells; number++) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", `Image ${number + 1}: make it the right end`);
  button.append(document.createElement("canvas"));
  button.addEventListener("click", () => {
    ends = [ends[1], grid[number]];
    $("place").value = $("place").max;
    showEnds();
  });
  $("grid").append(button);
}

const first = randomFrom(1);
ends = [randomLatent(first), randomLatent(first)];
showBetween();
setTimeout(() => { showEnds(); showGrid(); }, 0);
window.imageOf = (latent) => imageOf(joined(latent)); // of the class that is chosen, for whoever looks closer
