"use strict";
// The network: its weights out of the page's data, and its forward pass.

const given = JSON.parse(document.getElementById("data").textContent);
const [height, width, channels] = given.shape;

function float16(bits) {
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// Each layer with its weights and biases, in the order in which they were written; each array begins at a multiple of 4.
function readLayers() {
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
  return given.layers.map((layer) => {
    const count = layer.inputs * layer.outputs * (layer.kind === "dense" ? 1 : 9);
    if (given.precision !== "int8") {
      const read = floats[given.precision];
      return { ...layer, weight: read(count), bias: read(layer.outputs) };
    }
    const levels = take(Int8Array, count), scale = take(Float32Array, layer.outputs), bias = take(Float32Array, layer.outputs);
    return { ...layer, weight: Float32Array.from(levels, (level, place) => level * scale[place % layer.outputs]), bias };
  });
}

const layers = readLayers();

const activations = {
  identity: (x) => x,
  leaky: (x, slope) => (x > 0 ? x : slope * x),
  elu: (x, slope) => (x > 0 ? x : slope * Math.expm1(x)),
  silu: (x) => x / (1 + Math.exp(-x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  tanh: Math.tanh,
};

// y += x * weight, a row of `outputs` weights an input.
function add(y, to, x, weight, from, outputs) {
  if (x === 0) return;
  for (let place = 0; place < outputs; place++) y[to + place] += x * weight[from + place];
}

function dense({ inputs, outputs, weight, bias }, x) {
  const y = Float32Array.from(bias);
  for (let input = 0; input < inputs; input++) add(y, 0, x[input], weight, input * outputs, outputs);
  return y;
}

// A transposed convolution of 3x3: pixel (i, j) is added to the pixels around (stride * i, stride * j).
function deconvolution({ inputs, outputs, weight, bias, stride, size: [rows, columns] }, x) {
  const [tall, wide] = [rows * stride, columns * stride];
  const y = new Float32Array(tall * wide * outputs);
  for (let pixel = 0; pixel < tall * wide; pixel++) y.set(bias, pixel * outputs);
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
    const from = (row * columns + column) * inputs;
    for (let kernel = 0; kernel < 9; kernel++) {
      const down = row * stride + Math.floor(kernel / 3) - 1, right = column * stride + (kernel % 3) - 1;
      if (down < 0 || down >= tall || right < 0 || right >= wide) continue;
      const to = (down * wide + right) * outputs;
      for (let input = 0; input < inputs; input++)
        add(y, to, x[from + input], weight, (kernel * inputs + input) * outputs, outputs);
    }
  }
  return y;
}

// A latent to the levels of an image, 0 to 255, pixels before channels.
function imageOf(latent) {
  let x = Float32Array.from(latent);
  for (const layer of layers) {
    const act = activations[layer.activation];
    x = (layer.kind === "dense" ? dense : deconvolution)(layer, x).map((value) => act(value, layer.slope));
  }
  return Uint8ClampedArray.from(x, (value) => Math.round(127.5 * value + 127.5));
}
