// A probe at examples: a point for each, its geometry against the certainty of the prediction.

const Examples = {
  word: "Quantity",
  partWord: "Class",
  parts: (view) => ["all classes", ...Examples.labels(view).map((label) => view.classes[label])],
  labels: (view) => [...new Set(view.true)].sort((one, other) => one - other),
  first: (view) => view.quantities.map((quantity, place) => [place, quantity.title]),
  second: (view) => Examples.first(view),
  preset: (view) => [0, 0],

  draw(view) {
    [0, 1].forEach((panel) => Examples.drawPanel(view, panel));
    legend("legend", [
      ...Examples.labels(view).slice(0, 20).map((label) => [mark(classSymbol(label), classColour(label)), view.classes[label]]),
      [mark("line", "#1a1a1a", { "stroke-width": 4 }), "thick rim: predicted wrong"],
    ]);
    byId("images").hidden = true;
  },

  drawPanel(view, panel) {
    const quantity = view.quantities[chosen.quantity[panel]], across = view.across[panel], plot = byId(`view-${panel}`);
    const at = [chosen.epoch, chosen.layer, chosen.replicate];
    const y = part(quantity.values, ...at), x = part(across.values, chosen.epoch, chosen.replicate);
    const predicted = part(view.predicted, chosen.epoch, chosen.replicate);
    const only = chosen.part > 0 ? Examples.labels(view)[chosen.part - 1] : null;
    const places = view.true.map((_, place) => place).filter((place) => only === null || view.true[place] === only);
    const wrong = (place) => predicted[place] !== view.true[place];
    const words = (place) => {
      const lines = [`row ${view.rows[place]}`, view.classes[view.true[place]], `predicted: ${view.classes[predicted[place]]}`, inWords(y[place])];
      return lines.map(plain).join("<br>");
    };
    const trace = {
      type: "scatter", mode: "markers", x: orNull(places.map((place) => x[place])), y: orNull(places.map((place) => y[place])),
      text: places.map(words), customdata: places, hovertemplate: "%{text}<extra></extra>",
      marker: { size: 7, color: places.map((place) => classColour(view.true[place])), symbol: places.map((place) => classSymbol(view.true[place])),
        opacity: 0.85, line: { width: places.map((place) => (wrong(place) ? 2.2 : 0.3)), color: "#1a1a1a" } },
    };
    Plotly.react(plot, [trace], layoutOf({
      xaxis: axisOf(plain(across.label)), yaxis: axisOf(wrapped(quantity.label, 36), { exponentformat: "power" }),
      annotations: said(trace.y.some((value) => value !== null) ? "" : "no finite value at this checkpoint"),
    }), SETTINGS);
    plot.setAttribute("aria-label", `${quantity.title} against the ${across.title} at each example; the arrow keys go from one example to the next`);
    plot.dataset.shown = `${quantity.title}|${view.epochs[chosen.epoch]}`;
    if (!plot.listensToExamples) {
      plot.listensToExamples = true;
      plot.on("plotly_hover", ({ points: [point] }) => theView().kind === "examples" && Examples.pointAt(theView(), point.customdata));
      plot.addEventListener("keydown", Examples.moved);
    }
  },

  moved(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key], view = theView();
    if (!step || !view || view.kind !== "examples") return;
    event.preventDefault();
    Examples.pointAt(view, Math.min(view.true.length - 1, Math.max(0, (Examples.cursor ?? -1) + step)));
  },

  pointAt(view, place) {
    Examples.cursor = place;
    const values = [...new Set(chosen.quantity)].map((which) => {
      const quantity = view.quantities[which];
      return `${quantity.title} ${inWords(part(quantity.values, chosen.epoch, chosen.layer, chosen.replicate)[place])}`;
    });
    const of = view.across.map((each) => `${each.title} ${inWords(part(each.values, chosen.epoch, chosen.replicate)[place])}`);
    const predicted = part(view.predicted, chosen.epoch, chosen.replicate)[place];
    byId("readout").textContent = `Row ${view.rows[place]}, ${view.classes[view.true[place]]}, predicted ${view.classes[predicted]}. ${[...values, ...of].join("; ")}`;
    byId("images").hidden = !view.inputs;
    if (view.inputs) byId("images").replaceChildren(pictureOf(part(view.inputs.values, place), view.inputs, `row ${view.rows[place]} of the ${view.split} examples`));
  },
};
