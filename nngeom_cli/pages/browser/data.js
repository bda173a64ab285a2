"use strict";
// What the page shows: its data, its numbers, and what the reader has chosen.

let page = JSON.parse(document.getElementById("data").textContent);
let numbers = new Float32Array();

const chosen = { run: 0, epoch: 0, replicate: 0, layer: 0, part: 0, quantity: [0, 1], own: false, score: null, statistic: null };

const byId = (id) => document.getElementById(id);
const theRun = () => page.runs[chosen.run];
const theView = () => theRun().geometry;

/** The block of numbers: base64 of gzip of float32 whose bytes are sorted by weight. */
async function unpacked(text) {
  const compressed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const sorted = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = sorted.length / 4;
  const bytes = new Uint8Array(sorted.length);
  for (let weight = 0; weight < 4; weight++) {
    for (let at = 0; at < count; at++) bytes[4 * at + weight] = sorted[weight * count + at];
  }
  return new Float32Array(bytes.buffer);
}

/** The part of an array that has these indices along its first axes. */
function part(place, ...indices) {
  let size = place.shape.reduce((product, side) => product * side, 1);
  let start = place.offset;
  indices.forEach((index, axis) => {
    size /= place.shape[axis];
    start += index * size;
  });
  return numbers.subarray(start, start + size);
}

/** Numbers as plotly takes them: null where there is none. */
const orNull = (values) => Array.from(values, (value) => (Number.isFinite(value) ? value : null));

function inWords(value) {
  if (!Number.isFinite(value)) return "no value";
  const size = Math.abs(value);
  const text = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(3) : String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "−");
}

/** An element with attributes and children; texts are only ever texts. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function fill(select, options, value) {
  select.replaceChildren(...options.map(([key, words]) => element("option", { value: key }, words)));
  select.value = String(value);
  if (select.selectedIndex < 0) select.selectedIndex = 0;
}

function say(id, words) {
  byId(id).textContent = words;
  byId(id).hidden = !words;
}
