// What the plots share: their looks, colour scales, axes of epochs, legends.

const SETTINGS = {
  responsive: true, displaylogo: false, typesetMath: false, showTips: false,
  modeBarButtons: [["zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
};
const FONT = { family: "system-ui, 'DejaVu Sans', sans-serif", size: 13, color: "#1a1a1a" };
const FINE = window.matchMedia("(pointer: fine)").matches; // with a finger, dragging scrolls the page

/** A text in which plotly sees no markup. */
const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** A text in lines of about so many letters, as plotly breaks them. */
function wrapped(text, letters) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    if ((lines.at(-1) + " " + word).length > letters && lines.at(-1)) lines.push("");
    lines[lines.length - 1] = (lines.at(-1) + " " + word).trim();
  }
  return lines.map(plain).join("<br>");
}

function layoutOf(more) {
  return {
    font: FONT, paper_bgcolor: "#fff", plot_bgcolor: "#fff", showlegend: false, hovermode: "closest",
    dragmode: FINE ? "zoom" : false, margin: { l: 58, r: 22, t: 34, b: 48 }, uirevision: "kept",
    hoverlabel: { bgcolor: "#fff", bordercolor: "#1a1a1a", font: { ...FONT, size: 13 } }, ...more,
  };
}

/** Words in the middle of a plot that has nothing to show. */
const said = (words) => (words ? [{ text: wrapped(words, 30), x: 0.5, y: 0.5, xref: "paper", yref: "paper", showarrow: false, bgcolor: "#fff", borderpad: 6 }] : []);

function axisOf(title, more = {}) {
  return { title: { text: title, standoff: 6 }, zeroline: false, gridcolor: "#e6e6e6", linecolor: "#1a1a1a", showline: true,
    ticks: "outside", ticklen: 4, automargin: true, ...more };
}

/** Where a value lies on a colour scale, from 0 to 1. A scale is [low, high, where its linear part ends, or 0]. */
function position(value, [low, high, threshold]) {
  if (!Number.isFinite(value)) return null;
  const at = threshold > 0 ? symmetricLogarithm(threshold) : (number) => number;
  return Math.min(1, Math.max(0, (at(value) - at(low)) / (at(high) - at(low))));
}

/** Matplotlib's SymLogNorm with base 10 and linscale 0.5. */
function symmetricLogarithm(threshold) {
  const linear = 0.5 / (1 - 1 / 10);
  return (value) => {
    const size = Math.abs(value) / threshold;
    return Math.sign(value) * (size <= 1 ? size * linear : linear + Math.log10(size));
  };
}

/** Ticks of a colour bar: [position, text]. */
function ticksOf(scale) {
  const [low, high, threshold] = scale;
  if (!(threshold > 0)) return niceNumbers(low, high).map((value) => [position(value, scale), inWords(value)]);
  const first = Math.round(Math.log10(threshold)), last = Math.floor(Math.log10(high) + 1e-9);
  const step = Math.max(1, Math.ceil((last - first + 1) / 3));
  const ticks = [[position(0, scale), "0"]];
  for (let power = last; power >= first; power -= step) {
    const value = 10 ** power;
    if (position(value, scale) < position(0, scale) + 0.1) continue;
    const words = power >= 0 && power <= 2 ? String(value) : `10<sup>${String(power).replace("-", "−")}</sup>`;
    ticks.push([position(value, scale), words]);
    if (low < 0) ticks.push([position(-value, scale), `−${words}`]);
  }
  return ticks;
}

function niceNumbers(low, high) {
  const rough = (high - low) / 5, decade = 10 ** Math.floor(Math.log10(rough));
  const step = decade * [1, 2, 2.5, 5, 10].find((factor) => factor * decade >= rough * 0.999);
  const found = [];
  for (let count = Math.ceil(low / step - 1e-9); count <= high / step + 1e-9; count++) found.push(count * step);
  return found;
}

/** An axis of epochs, logarithmic from the first trained checkpoint on, with the untrained networks at the left. */
function epochAxis(epochs) {
  const trained = epochs.filter((epoch) => epoch > 0);
  const last = Math.max(...epochs), first = trained.length ? Math.min(...trained) : 1;
  if (first === last) return { place: (epoch) => epoch, axis: axisOf("epoch", { tickvals: [...new Set(epochs)], range: [-0.1 * last - 0.1, 1.1 * last + 0.1] }) };
  const zero = first / 3, start = epochs.includes(0) ? zero : first;
  const decades = [];
  for (let decade = 10 ** Math.ceil(Math.log10(first) - 1e-9); decade < last / 2.5; decade *= 10) decades.push(decade);
  const values = [...(start === zero ? [zero] : []), ...decades, last];
  const words = values.map((value) => (value === zero && start === zero ? "0" : String(value)));
  return {
    place: (epoch) => (epoch > 0 ? epoch : zero),
    axis: axisOf("epoch", { type: "log", ticklabeloverflow: "allow", tickvals: values, ticktext: words, range: [Math.log10(start / 1.15), Math.log10(last * 1.15)] }),
  };
}

const LETTERS = { circle: "●", square: "■", diamond: "◆", cross: "✚", "triangle-up": "▲", star: "★", x: "✖", pentagon: "⬟", "triangle-down": "▼", hexagram: "✶" };
const SYMBOLS = Object.keys(LETTERS);
const classColour = (label) => page.colours.classes[label % page.colours.classes.length];
const classSymbol = (label) => SYMBOLS[label % SYMBOLS.length];

/** A small picture for a legend: a line, an area, or the symbol of a point. */
function mark(kind, colour, more = {}) {
  const shape = (name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const picture = shape("svg", { width: 22, height: 16, viewBox: "0 -1 22 16", "aria-hidden": "true" });
  if (kind === "line") picture.append(shape("line", { x1: 0, x2: 22, y1: 7, y2: 7, stroke: colour, "stroke-width": 2.5, ...more }));
  else if (kind === "area") picture.append(shape("rect", { x: 2, y: 1, width: 18, height: 12, fill: colour, stroke: "#1a1a1a", "stroke-width": 0.5 }));
  else {
    const letter = shape("text", { x: 11, y: 7, "text-anchor": "middle", "dominant-baseline": "central", "font-size": 14, fill: colour, stroke: "#1a1a1a", "stroke-width": 0.7 });
    letter.append(LETTERS[kind]);
    picture.append(letter);
  }
  return picture;
}

function legend(id, entries) {
  byId(id).replaceChildren(...entries.map(([picture, words]) => element("li", {}, picture, words)));
}

/** Draws an input that is an image: [rows, columns], or [channels, rows, columns]; greys are white where it is lowest. */
function paint(canvas, values, { shape, low, high }) {
  const [channels, rows, columns] = shape.length === 3 ? shape : [1, ...shape];
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d"), image = context.createImageData(columns, rows), cells = rows * columns;
  const tone = (value) => 255 * Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
  for (let cell = 0; cell < cells; cell++) {
    let mean = 0;
    for (let channel = 0; channel < channels; channel++) mean += values[channel * cells + cell] / channels;
    for (let colour = 0; colour < 3; colour++) {
      image.data[4 * cell + colour] = channels === 3 ? tone(values[colour * cells + cell]) : 255 - tone(mean);
    }
    image.data[4 * cell + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

/** A canvas with words below it. */
function pictureOf(values, inputs, words) {
  const canvas = element("canvas", { role: "img", "aria-label": words });
  paint(canvas, values, inputs);
  return element("figure", {}, canvas, element("figcaption", {}, words));
}
