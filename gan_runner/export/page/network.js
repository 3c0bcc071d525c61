"use strict";
// The networks: their weights out of the page's data, and their forward pass.

const given = JSON.parse(document.getElementById("data").textContent);

function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Networks, each layer with its weights and biases, in the order in which they were written; each array begins at a
// multiple of 4.
function readNetworks() {
  const text = atob(given.weights), codes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) codes[place] = text.charCodeAt(place);
  const bytes = codes.buffer;
  let at = 0;
  const take = (kind, count) => {
    const array = new kind(bytes, at, count);
    at += Math.ceil(array.byteLength / 4) * 4;
    return array;
  };
  const floats = {
    float32: (count) => take(Float32Array, count),
    float16: (count) => Float32Array.from(take(Uint16Array, count), float16),
  };
  const read = (layer) => {
    if (!layer.outputs) return layer; // without weights
    const count = layer.inputs * layer.outputs * layer.kernel ** 2;
    if (given.precision !== "int8") {
      const numbers = floats[given.precision];
      return { ...layer, weight: numbers(count), bias: numbers(layer.outputs) };
    }
    const levels = take(Int8Array, count), scale = take(Float32Array, layer.outputs), bias = take(Float32Array, layer.outputs);
    return { ...layer, weight: Float32Array.from(levels, (level, place) => level * scale[place % layer.outputs]), bias };
  };
  return given.networks.map((network) => ({ ...network, layers: network.layers.map(read) }));
}

const networks = readNetworks();
let network = networks[0]; // that draws

const activations = {
  identity: (x) => x,
  leaky: (x, slope) => (x > 0 ? x : slope * x),
  elu: (x, slope) => (x > 0 ? x : slope * Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

// y += x * weight for `count` numbers of x from `from` on, each with a row of `outputs` weights, the first row at `at`.
// Four rows at a time, so that y is read and written a quarter as often.
function multiply(y, to, x, from, count, weight, at, outputs) {
  let input = 0;
  for (; input + 4 <= count; input += 4) {
    const a = x[from + input], b = x[from + input + 1], c = x[from + input + 2], d = x[from + input + 3];
    if (a === 0 && b === 0 && c === 0 && d === 0) continue;
    const first = at + input * outputs, second = first + outputs, third = second + outputs, fourth = third + outputs;
    for (let place = 0; place < outputs; place++)
      y[to + place] += a * weight[first + place] + b * weight[second + place] + c * weight[third + place] + d * weight[fourth + place];
  }
  for (; input < count; input++) {
    const row = at + input * outputs;
    for (let place = 0; place < outputs; place++) y[to + place] += x[from + input] * weight[row + place];
  }
}

function filled(pixels, bias) {
  const y = new Float32Array(pixels * bias.length);
  for (let pixel = 0; pixel < pixels; pixel++) y.set(bias, pixel * bias.length);
  return y;
}

// Where the index of a pixel lies once images are continued beyond their edges.
const continued = {
  replicate: (at, size) => Math.min(Math.max(at, 0), size - 1),
  reflect: (at, size) => (at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at),
};

const kinds = {
  dense({ inputs, outputs, weight, bias }, x) {
    const y = Float32Array.from(bias);
    multiply(y, 0, x, 0, inputs, weight, 0, outputs);
    return y;
  },
  // The pixels of a row of the kernel lie side by side in memory, as its weights do.
  convolution({ inputs, outputs, weight, bias, kernel, stride, padding, size: [rows, columns], out: [tall, wide] }, x) {
    const y = filled(tall * wide, bias);
    for (let down = 0; down < tall; down++) for (let right = 0; right < wide; right++) {
      const left = right * stride - padding, first = Math.max(0, -left), last = Math.min(kernel, columns - left);
      for (let step = 0; step < kernel; step++) {
        const row = down * stride - padding + step;
        if (row < 0 || row >= rows) continue;
        const from = (row * columns + left + first) * inputs, at = (step * kernel + first) * inputs * outputs;
        multiply(y, (down * wide + right) * outputs, x, from, (last - first) * inputs, weight, at, outputs);
      }
    }
    return y;
  },
  // Pixel (i, j) is added to the pixels from (stride * i - padding, stride * j - padding) on.
  transposed({ inputs, outputs, weight, bias, kernel, stride, padding, size: [rows, columns], out: [tall, wide] }, x) {
    const y = filled(tall * wide, bias);
    for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
      for (let place = 0; place < kernel * kernel; place++) {
        const down = row * stride - padding + Math.floor(place / kernel), right = column * stride - padding + (place % kernel);
        if (down < 0 || down >= tall || right < 0 || right >= wide) continue;
        multiply(y, (down * wide + right) * outputs, x, (row * columns + column) * inputs, inputs, weight, place * inputs * outputs, outputs);
      }
    }
    return y;
  },
  activation({ name, slope }, x) {
    const act = activations[name];
    return x.map((value) => act(value, slope));
  },
  normalisation({ pixels, eps }, x) {
    const channels = x.length / pixels, y = new Float32Array(x.length);
    for (let channel = 0; channel < channels; channel++) {
      let sum = 0, squares = 0;
      for (let at = channel; at < x.length; at += channels) sum += x[at];
      for (let at = channel; at < x.length; at += channels) squares += (x[at] - sum / pixels) ** 2;
      const scale = 1 / Math.sqrt(squares / pixels + eps);
      for (let at = channel; at < x.length; at += channels) y[at] = (x[at] - sum / pixels) * scale;
    }
    return y;
  },
  padding({ size: [rows, columns], border: [left, right, above, below], mode }, x) {
    const channels = x.length / (rows * columns), tall = rows + above + below, wide = columns + left + right;
    const y = new Float32Array(tall * wide * channels), inside = continued[mode];
    for (let down = 0; down < tall; down++) for (let across = 0; across < wide; across++) {
      const from = (inside(down - above, rows) * columns + inside(across - left, columns)) * channels;
      y.set(x.subarray(from, from + channels), (down * wide + across) * channels);
    }
    return y;
  },
  keep(_, x, kept) {
    kept.push(x);
    return x;
  },
  add(_, x, kept) {
    const other = kept.pop();
    return x.map((value, at) => value + other[at]);
  },
  concatenate({ pixels }, x, kept) {
    const other = kept.pop(), mine = x.length / pixels, theirs = other.length / pixels;
    const y = new Float32Array(x.length + other.length);
    for (let pixel = 0; pixel < pixels; pixel++) {
      y.set(x.subarray(pixel * mine, (pixel + 1) * mine), pixel * (mine + theirs));
      y.set(other.subarray(pixel * theirs, (pixel + 1) * theirs), pixel * (mine + theirs) + mine);
    }
    return y;
  },
};

// What the network is given, a latent or the pixels of an image, to the levels of an image, 0 to 255, pixels before channels.
function imageOf(values) {
  const kept = [];
  let x = Float32Array.from(values);
  for (const layer of network.layers) x = kinds[layer.kind](layer, x, kept);
  return Uint8ClampedArray.from(x, (value) => Math.round(127.5 * value + 127.5));
}

// Shows levels on a canvas, a pixel for a pixel.
function show(canvas, levels) {
  const [height, width, channels] = network.shape;
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let colour = 0; colour < 3; colour++)
      image.data[4 * pixel + colour] = levels[channels * pixel + (channels === 1 ? 0 : colour)];
    image.data[4 * pixel + 3] = channels === 4 ? levels[4 * pixel + 3] : 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  document.documentElement.dataset.first ??= performance.now(); // milliseconds until the first image
}
