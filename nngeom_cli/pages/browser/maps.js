// Grids and planes: two heatmaps, of a quantity each.

const Maps = {
  word: "Quantity",
  partWord: "Plane",
  parts: (view) => view.planes.map((plane) => plane.name),
  first: (view) => view.quantities.map((quantity, place) => [place, quantity.title]),
  second: (view) => Maps.first(view),
  preset: (view) => ["volume", "curvature"].map((look) => view.quantities.findIndex((quantity) => quantity.look.startsWith(look))),

  indices(view, quantity) {
    return [chosen.epoch, quantity.layered ? chosen.layer : 0, chosen.part, chosen.replicate];
  },

  /** The values of a quantity in the panel that is chosen; infinite where no digit is reliable. */
  values(view, quantity) {
    const values = part(quantity.values, ...Maps.indices(view, quantity));
    return quantity.logarithm ? values.map((value) => (Number.isFinite(value) ? Math.log10(Math.abs(value)) : value)) : values;
  },

  scale(view, quantity) {
    if (quantity.look === "classes") return [-0.5, 9.5, 0];
    const [epoch, layer, plane, replicate] = Maps.indices(view, quantity);
    return chosen.own ? part(quantity.own, epoch, layer, plane, replicate) : part(quantity.scales, layer, plane);
  },

  draw(view) {
    Maps.drawImages(view, null); // first: it takes room beside the panels
    [0, 1].forEach((panel) => Maps.drawPanel(view, panel));
    Maps.drawLegend(view);
  },

  drawPanel(view, panel) {
    const quantity = view.quantities[chosen.quantity[panel]], plot = byId(`view-${panel}`);
    const values = Maps.values(view, quantity), scale = Maps.scale(view, quantity), columns = view.x.length;
    const words = Maps.words(view, quantity, values, scale);
    const rows = view.y.map((_, row) => Array.from(values.subarray(row * columns, (row + 1) * columns)));
    const classes = quantity.look === "classes";
    const text = (value) => (value === Infinity ? "no reliable digit" : classes ? view.classes[value] ?? `class ${value}` : inWords(value));
    const colours = view.colours[quantity.look];
    const field = {
      type: "heatmap", x: view.x, y: view.y, zmin: 0, zmax: 1, colorscale: colourScale(colours, classes),
      z: rows.map((row) => row.map((value) => (words ? null : position(classes ? value % colours.length : value, scale)))),
      text: rows.map((row) => row.map((value) => plain(text(value)))),
      hovertemplate: `${plain(view.axes[0])}: %{x:.3g}<br>${plain(view.axes[1])}: %{y:.3g}<br>%{text}<extra></extra>`,
      showscale: !classes && !words,
    };
    if (field.showscale) {
      const ticks = ticksOf(scale);
      field.colorbar = { thickness: 12, outlinewidth: 0.5, title: { text: wrapped(quantity.label, plot.clientWidth < 450 ? 24 : 40), side: "right" },
        tickvals: ticks.map(([at]) => at), ticktext: ticks.map(([, tick]) => tick), ticks: "outside", ticklen: 3 };
    }
    const doubtful = { type: "heatmap", x: view.x, y: view.y, zmin: 0, zmax: 1, showscale: false, hoverinfo: "skip",
      colorscale: [[0, page.colours.unreliable], [1, page.colours.unreliable]],
      z: rows.map((row) => row.map((value) => (value === Infinity ? 0 : null))) };
    const layout = layoutOf({
      xaxis: axisOf(plain(view.axes[0]), { showgrid: false, constrain: "domain", range: edges(view.x) }),
      yaxis: axisOf(plain(view.axes[1]), { showgrid: false, constrain: "domain", range: edges(view.y), scaleanchor: "x" }),
      plot_bgcolor: words ? "#f3f3f3" : page.colours.missing, margin: { l: 62, r: 100, t: 34, b: 48, autoexpand: false }, annotations: said(words),
    });
    const traces = [field, doubtful, ...Maps.lines(view), ...Maps.marks(view)];
    Plotly.react(plot, traces, layout, SETTINGS);
    plot.setAttribute("aria-label", `Heatmap of ${quantity.title}; the arrow keys move a cursor whose values stand below`);
    plot.dataset.shown = `${quantity.title}|${theView().epochs[chosen.epoch]}`;
    if (!plot.listens) {
      plot.listens = true;
      plot.on("plotly_hover", ({ points: [point] }) => theView().kind === "maps" && Maps.pointAt(theView(), point.x, point.y));
      plot.addEventListener("keydown", Maps.moved);
    }
  },

  words(view, quantity, values, scale) {
    const words = quantity.words[quantity.layered ? chosen.layer : 0];
    if (words) return words;
    if (!values.some(Number.isFinite)) return values.includes(Infinity) ? "" : "no finite value at this checkpoint";
    return Number.isFinite(scale[0]) ? "" : "0 at every point where it has a reliable digit";
  },

  /** The decision boundary in red, on a white casing that sets it off from any colour. */
  lines(view) {
    const { begins, vertices } = view.boundaries;
    const planes = Math.max(1, view.planes.length);
    const at = (chosen.epoch * planes + chosen.part) * view.replicates.length + chosen.replicate;
    const points = part(vertices).subarray(2 * begins[at], 2 * begins[at + 1]);
    const pick = (odd) => orNull(points.filter((_, place) => place % 2 === odd));
    const line = (color, width) => ({ type: "scatter", mode: "lines", x: pick(0), y: pick(1), hoverinfo: "skip", line: { color, width } });
    return points.length ? [line("#fff", 5), line(page.colours.boundary, 2.4)] : [];
  },

  /** Training points of a grid, or the three inputs of a plane. */
  marks(view) {
    const plane = view.planes[chosen.part];
    if (!plane && !view.points) return [];
    const { classes } = plane ?? view.points, places = plane ? plane.corners : view.points.places;
    const few = classes.length <= 20;
    const looks = classes.map((label) => Maps.look(view, label));
    return [{
      type: "scatter", mode: "markers", x: Array.from(part(places, 0)), y: Array.from(part(places, 1)), hoverinfo: "skip",
      marker: { size: few ? 11 : 5, color: looks.map((look) => look.colour), symbol: looks.map((look) => look.symbol), line: { width: few ? 1.5 : 0.5, color: looks.map((look) => look.rim) } },
    }];
  },

  /** White or black where there are two classes, a colour and a shape where there are more. */
  look(view, label) {
    const known = Object.keys((view.planes[chosen.part] ?? view.points).names).map(Number);
    if (!view.planes.length && known.length <= 2) {
      const colour = page.colours.labels[known.indexOf(label)];
      return { colour, rim: colour === "black" ? "white" : "black", symbol: "circle" };
    }
    return { colour: classColour(label), rim: "white", symbol: classSymbol(label) };
  },

  drawLegend(view) {
    const entries = [];
    if (Maps.lines(view).length) entries.push([mark("line", page.colours.boundary), "decision boundary"]);
    const marks = view.planes[chosen.part] ?? view.points;
    const what = view.planes.length ? "input" : "training point";
    for (const [label, name] of Object.entries(marks?.names ?? {}).slice(0, 20)) {
      const { colour, symbol } = Maps.look(view, Number(label));
      entries.push([mark(symbol, colour), `${what}, ${name}`]);
    }
    if (view.points && view.points.classes.length < view.points.all) entries.push([mark("circle", "#fff"), `${view.points.classes.length} of ${view.points.all} training points`]);
    const shown = chosen.quantity.map((place) => view.quantities[place]);
    const fields = shown.map((quantity) => Maps.values(view, quantity));
    if (fields.some((values) => values.some(Number.isNaN))) entries.push([mark("area", page.colours.missing), "no value (Jacobian rank deficient or not finite)"]);
    if (fields.some((values) => values.includes(Infinity))) entries.push([mark("area", page.colours.unreliable), "no reliable digit (rounding error > 0.1 |R|)"]);
    const classes = shown.find((quantity) => quantity.look === "classes");
    if (classes) {
      for (const label of new Set(Maps.values(view, classes))) {
        entries.push([mark("area", view.colours.classes[label % view.colours.classes.length]), `predicted: ${view.classes[label] ?? label}`]);
      }
    }
    legend("legend", entries);
  },

  moved(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const view = theView();
    if (!step || !view || view.kind !== "maps") return;
    event.preventDefault();
    const clip = (place, axis) => Math.min(axis.length - 1, Math.max(0, place));
    const [column, row] = Maps.cursor ?? [Math.floor(view.x.length / 2), Math.floor(view.y.length / 2)];
    Maps.cursor = [clip(column + step[0], view.x), clip(row + step[1], view.y)];
    const [x, y] = [view.x[Maps.cursor[0]], view.y[Maps.cursor[1]]];
    Plotly.Fx.hover(event.currentTarget, { xval: x, yval: y });
    Maps.pointAt(view, x, y);
  },

  /** Says both quantities at a place, and paints the input there if inputs are images. */
  pointAt(view, x, y) {
    const nearest = (axis, at) => axis.reduce((best, value, place) => (Math.abs(value - at) < Math.abs(axis[best] - at) ? place : best), 0);
    const column = nearest(view.x, x), row = nearest(view.y, y);
    Maps.cursor = [column, row];
    const values = [...new Set(chosen.quantity)].map((place) => {
      const quantity = view.quantities[place], value = Maps.values(view, quantity)[row * view.x.length + column];
      const words = value === Infinity ? "no reliable digit" : quantity.look === "classes" ? view.classes[value] ?? value : inWords(value);
      return `${quantity.title}: ${words}`;
    });
    byId("readout").textContent = `${view.axes[0]} ${inWords(view.x[column])}, ${view.axes[1]} ${inWords(view.y[row])}. ${values.join("; ")}`;
    Maps.drawImages(view, [view.x[column], view.y[row]]);
  },

  /** The three inputs of a plane, and the mixture of them at a place. */
  drawImages(view, place) {
    const plane = view.planes[chosen.part], box = byId("images");
    box.hidden = !plane?.inputs;
    if (box.hidden) return;
    const corners = [0, 1, 2].map((corner) => part(plane.inputs.values, corner));
    const xs = part(plane.corners, 0), ys = part(plane.corners, 1);
    const at = place ?? [(xs[0] + xs[1] + xs[2]) / 3, (ys[0] + ys[1] + ys[2]) / 3];
    const weights = mixture(xs, ys, at);
    const mixed = corners[0].map((_, cell) => corners.reduce((sum, corner, which) => sum + weights[which] * corner[cell], 0));
    box.replaceChildren(
      pictureOf(mixed, plane.inputs, place ? "input under the pointer" : "input in the middle"),
      ...corners.map((corner, which) => pictureOf(corner, plane.inputs, plane.names[plane.classes[which]])),
    );
  },
};

/** The weights of three corners, with sum 1, whose mixture is at a place. */
function mixture(xs, ys, [x, y]) {
  const twice = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0]);
  const second = ((x - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (y - ys[0])) / twice;
  const third = ((xs[1] - xs[0]) * (y - ys[0]) - (x - xs[0]) * (ys[1] - ys[0])) / twice;
  return [1 - second - third, second, third];
}

/** The outer edges of the first and the last cell. */
function edges(axis) {
  const half = (axis.at(-1) - axis[0]) / (axis.length - 1) / 2;
  return [axis[0] - half, axis.at(-1) + half];
}

/** Colours as plotly takes them: blending from one to the next, or in steps. */
function colourScale(colours, steps) {
  if (!steps) return colours.map((colour, place) => [place / (colours.length - 1), colour]);
  return colours.flatMap((colour, place) => [[place / colours.length, colour], [(place + 1) / colours.length, colour]]);
}
