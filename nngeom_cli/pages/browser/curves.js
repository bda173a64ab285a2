// Paths between two inputs: a curve for each network, and the prediction along the chosen one.

const Curves = {
  word: "Curve",
  partWord: "Pair",
  parts: (view) => view.pairs,
  first: (view) => view.quantities.map((quantity, place) => [place, quantity.title]),
  second: (view) => Curves.first(view),
  preset: (view) => [0, Math.min(1, view.quantities.length - 1)],

  draw(view) {
    Curves.drawImages(view, null); // first: it takes room beside the panels
    [0, 1].forEach((panel) => Curves.drawPanel(view, panel));
    const classes = new Set(part(view.predicted, chosen.epoch, chosen.part, chosen.replicate));
    legend("legend", [
      ...[...classes].map((label) => [mark(classSymbol(label), classColour(label)), `prediction of the chosen network: ${view.classes[label]}`]),
      ...(view.replicates.length > 1 ? [[mark("line", page.colours.replicate), "other networks"]] : []),
      ...(view.epochs[0] === 0 && chosen.epoch > 0 ? [[mark("line", "#555", { "stroke-dasharray": "5 3" }), "the chosen network, untrained"]] : []),
    ]);
  },

  drawPanel(view, panel) {
    const quantity = view.quantities[chosen.quantity[panel]], plot = byId(`view-${panel}`);
    const curve = (epoch, replicate) => orNull(part(quantity.values, epoch, chosen.layer, chosen.part, replicate));
    const others = view.replicates.map((_, place) => place).filter((place) => place !== chosen.replicate);
    const line = (y, look) => ({ type: "scatter", mode: "lines", x: view.t, y, hoverinfo: "skip", ...look });
    const predicted = Array.from(part(view.predicted, chosen.epoch, chosen.part, chosen.replicate));
    const values = curve(chosen.epoch, chosen.replicate);
    const traces = others.map((place) => line(curve(chosen.epoch, place), { line: { color: page.colours.replicate, width: 1 } }));
    if (view.epochs[0] === 0 && chosen.epoch > 0) traces.push(line(curve(0, chosen.replicate), { line: { color: "#555", width: 1.5, dash: "dash" } }));
    traces.push({
      type: "scatter", mode: "lines+markers", x: view.t, y: values, line: { color: "#1a1a1a", width: 1.5 },
      marker: { size: 7, color: predicted.map(classColour), symbol: predicted.map(classSymbol), line: { width: 0.5, color: "#1a1a1a" } },
      text: predicted.map((label, place) => `${inWords(values[place] ?? NaN)}<br>predicted: ${plain(view.classes[label])}`),
      hovertemplate: "t = %{x:.3f}<br>%{text}<extra></extra>",
    });
    const words = quantity.words[chosen.layer] || (values.some((value) => value !== null) ? "" : "no finite value at this checkpoint");
    const range = chosen.own ? {} : { range: Curves.range(view, quantity) };
    Plotly.react(plot, traces, layoutOf({
      xaxis: axisOf("t, from the first input to the second", { range: [-0.01, 1.01] }),
      yaxis: axisOf(wrapped(quantity.label, 36), { ...range, exponentformat: "power" }),
      hovermode: "closest", hoverdistance: 60,
      annotations: said(words),
    }), SETTINGS);
    plot.setAttribute("aria-label", `Curve of the ${quantity.title} between two inputs; the arrow keys move along it`);
    plot.dataset.shown = `${quantity.title}|${view.epochs[chosen.epoch]}`;
    if (!plot.listensToCurves) {
      plot.listensToCurves = true;
      plot.on("plotly_hover", ({ points: [point] }) => theView().kind === "curves" && Curves.pointAt(theView(), point.x));
      plot.addEventListener("keydown", Curves.moved);
    }
  },

  /** From the least to the largest finite value of a layer and pair at any checkpoint, so that curves can be compared. */
  range(view, quantity) {
    let low = Infinity, high = -Infinity;
    view.epochs.forEach((_, epoch) => {
      for (const value of part(quantity.values, epoch, chosen.layer, chosen.part)) {
        if (Number.isFinite(value)) [low, high] = [Math.min(low, value), Math.max(high, value)];
      }
    });
    const room = 0.04 * (high - low) || 0.5;
    return low <= high ? [low - room, high + room] : [0, 1];
  },

  moved(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], view = theView();
    if (!step || !view || view.kind !== "curves") return;
    event.preventDefault();
    Curves.cursor = Math.min(view.t.length - 1, Math.max(0, (Curves.cursor ?? Math.floor(view.t.length / 2)) + step));
    Curves.pointAt(view, view.t[Curves.cursor]);
  },

  pointAt(view, t) {
    const place = view.t.reduce((best, value, at) => (Math.abs(value - t) < Math.abs(view.t[best] - t) ? at : best), 0);
    Curves.cursor = place;
    const values = [...new Set(chosen.quantity)].map((which) => {
      const quantity = view.quantities[which];
      return `${quantity.title} ${inWords(part(quantity.values, chosen.epoch, chosen.layer, chosen.part, chosen.replicate)[place])}`;
    });
    const label = part(view.predicted, chosen.epoch, chosen.part, chosen.replicate)[place];
    byId("readout").textContent = `t = ${inWords(view.t[place])}. ${values.join("; ")}. Predicted: ${view.classes[label]}`;
    Curves.drawImages(view, view.t[place]);
  },

  drawImages(view, t) {
    byId("images").hidden = !view.inputs;
    if (!view.inputs) return;
    const ends = [0, 1].map((end) => part(view.inputs.values, chosen.part, end));
    const at = t ?? 0.5;
    const between = ends[0].map((value, cell) => value + at * (ends[1][cell] - value));
    byId("images").replaceChildren(
      pictureOf(between, view.inputs, `input at t = ${inWords(at)}`),
      pictureOf(ends[0], view.inputs, "first input, t = 0"),
      pictureOf(ends[1], view.inputs, "second input, t = 1"),
    );
  },
};
