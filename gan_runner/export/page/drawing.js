// A visitor draws on a canvas, and the network makes an image of it.

const $ = (id) => document.getElementById(id);
const [tall, wide] = network.source; // of what networks are given, in every direction
const scale = Math.max(1, Math.floor(480 / Math.max(tall, wide))); // pixels of the canvas for each of those, each way
const slow = 150; // milliseconds, above which the network waits for the end of a line
const remembered = 30; // drawings, for undo

const paint = $("input").getContext("2d", { willReadFrequently: true });
$("input").width = scale * wide;
$("input").height = scale * tall;

const hex = (levels) => `#${levels.map((level) => level.toString(16).padStart(2, "0")).join("")}`;
const colourOf = (levels) => hex(levels.length === 1 ? [levels[0], levels[0], levels[0]] : levels);

// The drawing at the size of the network's images: the mean of each square of pixels, in [-1, 1], pixels before channels.
function source() {
  const { data } = paint.getImageData(0, 0, scale * wide, scale * tall), { levels: two, source: [, , depth] } = network;
  const values = new Float32Array(tall * wide * depth);
  for (let row = 0; row < tall; row++) for (let column = 0; column < wide; column++) {
    const sum = [0, 0, 0, 0];
    for (let down = row * scale; down < (row + 1) * scale; down++)
      for (let at = 4 * (down * wide + column) * scale, end = at + 4 * scale; at < end; at++) sum[at % 4] += data[at];
    const mean = sum.map((levels) => levels / scale ** 2);
    const seen = depth === 1 ? [0.299 * mean[0] + 0.587 * mean[1] + 0.114 * mean[2]] : mean.slice(0, depth);
    const levels = seen.map((level) => (two ? two[Number(level > (two[0] + two[1]) / 2)] : Math.round(level)));
    values.set(levels.map((level) => level / 127.5 - 1), (row * wide + column) * depth);
  }
  return values;
}

let took = 0, waiting = false;

function translate() {
  waiting = false;
  const start = performance.now();
  show($("output"), imageOf(source()));
  took = performance.now() - start;
  $("took").textContent = `The second image took ${Math.ceil(took)} ms.`;
}

// Once for each frame that the browser shows.
function drawn() {
  if (!waiting) requestAnimationFrame(translate);
  waiting = true;
}

const past = [];

function remember() {
  past.push(paint.getImageData(0, 0, scale * wide, scale * tall));
  if (past.length > remembered) past.shift();
}

function clear() {
  paint.clearRect(0, 0, scale * wide, scale * tall);
  paint.fillStyle = colourOf(network.paper);
  paint.fillRect(0, 0, scale * wide, scale * tall);
}

let last = null; // where the line is

function lineTo(event) {
  const { left, top, width: across, height: down } = $("input").getBoundingClientRect();
  const next = [((event.clientX - left) / across) * scale * wide, ((event.clientY - top) / down) * scale * tall];
  paint.lineCap = "round";
  paint.lineWidth = scale * Number($("thickness").value);
  paint.strokeStyle = $("colour").value;
  paint.beginPath();
  paint.moveTo(...(last ?? next));
  paint.lineTo(...next);
  paint.stroke();
  last = next;
}

$("input").addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  $("input").setPointerCapture(event.pointerId);
  remember();
  last = null;
  lineTo(event);
  if (took < slow) drawn();
});
$("input").addEventListener("pointermove", (event) => {
  if (!last) return;
  for (const part of event.getCoalescedEvents?.() ?? []) lineTo(part);
  lineTo(event);
  if (took < slow) drawn();
});
for (const end of ["pointerup", "pointercancel"]) $("input").addEventListener(end, () => {
  if (last) drawn();
  last = null;
});

$("clear").addEventListener("click", () => {
  remember();
  clear();
  drawn();
});
$("undo").addEventListener("click", () => {
  if (past.length) paint.putImageData(past.pop(), 0, 0);
  drawn();
});

// An image that the visitor chose, in the middle of the canvas, as large as covers all of it.
function cover(image) {
  const factor = Math.max((scale * wide) / image.width, (scale * tall) / image.height);
  const [across, down] = [factor * image.width, factor * image.height];
  remember();
  clear();
  paint.imageSmoothingQuality = "high";
  paint.drawImage(image, (scale * wide - across) / 2, (scale * tall - down) / 2, across, down);
  drawn();
}

// An image of the data, each of its pixels a square.
function enlarge(image) {
  const small = new OffscreenCanvas(wide, tall).getContext("2d");
  small.drawImage(image, 0, 0);
  const from = new Uint32Array(small.getImageData(0, 0, wide, tall).data.buffer);
  const large = new ImageData(scale * wide, scale * tall), to = new Uint32Array(large.data.buffer);
  const shrunk = (place) => Math.floor(place / scale);
  for (let at = 0; at < to.length; at++) to[at] = from[shrunk(Math.floor(at / (scale * wide))) * wide + shrunk(at % (scale * wide))];
  remember();
  paint.putImageData(large, 0, 0);
  drawn();
}

$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (!file) return;
  try {
    cover(await createImageBitmap(file));
  } catch {
    $("took").textContent = `${file.name} cannot be read as an image.`;
  }
});

$("thickness").min = $("thickness").step = 0.5;
$("thickness").max = Math.max(4, Math.min(tall, wide) / 8);
$("thickness").value = Math.min(tall, wide) / 20;

// Begins with one of the networks: with an image of its data, if there are any, otherwise with empty paper.
function choose(number) {
  network = networks[number];
  const { paper, examples, source: [, , depth] } = network;
  $("colour").value = paper.reduce((sum, level) => sum + level, 0) < 128 * paper.length ? "#ffffff" : "#000000";
  $("colours").hidden = depth === 1;
  $("shown").hidden = !examples.length;
  $("examples").replaceChildren(...examples.map(exampleOf));
  clear();
  past.length = 0;
  translate();
}

function exampleOf(bytes, number) {
  const button = document.createElement("button"), image = new Image();
  button.type = "button";
  button.setAttribute("aria-label", `Image ${number + 1}: begin with it`);
  button.append(image);
  button.addEventListener("click", () => enlarge(image));
  if (number === 0) image.addEventListener("load", () => button.isConnected && button.click());
  image.src = `data:image/png;base64,${bytes}`;
  image.alt = "";
  return button;
}

for (const [number, { direction }] of networks.entries()) $("direction").add(new Option(direction, number));
$("directions").hidden = networks.length === 1;
$("direction").addEventListener("change", () => choose(Number($("direction").value)));
choose(0);
window.imageOf = imageOf; // for whoever looks closer
window.source = source;
