// Scores and statistics at each checkpoint, with a marker that goes along with the slider.

const SCORES = { loss: "training loss", accuracy: "training accuracy", test_loss: "test loss", test_accuracy: "test accuracy" };
const DASHES = ["dot", "dashdot", "longdash", "dash"];

const markerAt = (place) => ({ type: "line", x0: place, x1: place, yref: "paper", y0: 0, y1: 1, line: { color: "#1a1a1a", width: 1.5, dash: "dot" } });

/** All replicates as one line with gaps, and the chosen one above them. */
function replicateLines(rows, epochs, place, seeds, seed) {
  const x = [], y = [], of = [], at = [];
  seeds.forEach((each, row) => {
    x.push(...epochs.map(place), null);
    y.push(...rows(row), null);
    of.push(...epochs.map(() => each), null);
    at.push(...epochs, null);
  });
  const hover = { text: at.map((epoch, which) => `epoch ${epoch}, seed ${of[which]}`), hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>" };
  const lines = [{ type: "scatter", mode: "lines", x, y, line: { color: page.colours.replicate, width: 1 }, ...hover }];
  const row = seeds.indexOf(seed);
  if (row >= 0) lines.push({ type: "scatter", mode: "lines+markers", x: epochs.map(place), y: rows(row), line: { color: "#1a1a1a", width: 1.6 }, marker: { size: epochs.length > 60 ? 1 : 4 }, text: epochs.map((epoch) => `epoch ${epoch}, seed ${seed}`), hovertemplate: "%{text}<br>%{y:.4g}<extra></extra>" });
  return lines;
}

const theSeed = () => theView()?.replicates[chosen.replicate]?.[0];
const theEpoch = () => theView()?.epochs[chosen.epoch];

function drawScores(run) {
  const scores = run.scores, plot = byId("score-plot");
  byId("training").hidden = !scores;
  if (!scores) return;
  const { place, axis } = epochAxis(scores.epochs);
  const rows = (row) => orNull(part(scores.scores[chosen.score], row));
  const loss = chosen.score.endsWith("loss");
  const positive = loss && part(scores.scores[chosen.score]).some((value) => value > 0);
  const traces = replicateLines(rows, scores.epochs, place, scores.seeds, theSeed());
  const yaxis = axisOf(SCORES[chosen.score], positive ? { type: "log", exponentformat: "power", dtick: null, nticks: 6 } : loss ? {} : { range: [-0.03, 1.03] });
  plot.placeOf = place;
  Plotly.react(plot, traces, layoutOf({ xaxis: axis, yaxis, shapes: theEpoch() === undefined ? [] : [markerAt(place(theEpoch()))] }), SETTINGS);
  byId("score-words").textContent = scores.seeds.length > 1 ? `${SCORES[chosen.score]} of each network; the chosen one in black` : SCORES[chosen.score];
}

/** The statistic that is chosen, of the layer that is chosen or of the nearest one that the page has. */
function theStatistic(training) {
  const known = training.statistics.filter((each) => each.name === chosen.statistic);
  const words = theView().layers[chosen.layer];
  return known.find((each) => training.layers[each.layer] === words) ?? known[0];
}

function drawStatistic(run) {
  const training = run.training, plot = byId("statistic-plot");
  byId("statistic-panel").hidden = !training;
  if (!training) return legend("training-legend", []);
  const statistic = theStatistic(training), epochs = training.epochs;
  const { place, axis } = epochAxis(epochs);
  const x = epochs.map(place), mean = orNull(part(statistic.mean));
  const [low, high] = [0, 1].map((end) => orNull(part(statistic.interval, end)));
  const known = epochs.map((_, at) => at).filter((at) => low[at] !== null);
  const colour = page.colours.statistic;
  const traces = [
    { type: "scatter", mode: "lines", x: [...known.map((at) => x[at]), ...known.map((at) => x[at]).reverse()], y: [...known.map((at) => low[at]), ...known.map((at) => high[at]).reverse()], fill: "toself", fillcolor: "rgba(20,65,140,0.22)", line: { width: 0 }, hoverinfo: "skip" },
    ...replicateLines((row) => orNull(part(statistic.each, row)), epochs, place, training.seeds, theSeed()),
    ...Object.entries(statistic.controls).map(([, values], which) => ({ type: "scatter", mode: "lines", x, y: orNull(part(values)), hoverinfo: "skip", line: { color: page.colours.like, width: 1.6, dash: DASHES[which % DASHES.length] } })),
    { type: "scatter", mode: "lines+markers", x, y: mean, line: { color: colour, width: 2.6 }, marker: { size: 6 }, text: epochs.map((epoch, at) => `epoch ${epoch}, mean ${inWords(mean[at] ?? NaN)}` + (low[at] === null ? "" : ` [${inWords(low[at])}, ${inWords(high[at])}]`)), hovertemplate: "%{text}<extra></extra>" },
  ];
  const untrained = epochs[0] === 0 && epochs.length > 1 && mean[0] !== null;
  const shapes = untrained ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: mean[0], y1: mean[0], line: { color: page.colours.control, width: 1, dash: "dash" } }] : [];
  plot.placeOf = place;
  Plotly.react(plot, traces, layoutOf({ xaxis: axis, yaxis: axisOf(plain(statistic.units), { zeroline: true, zerolinecolor: "#999" }), shapes: [markerAt(place(theEpoch())), ...shapes], annotations: said(known.length || mean.some((value) => value !== null) ? "" : "undefined at every checkpoint") }), SETTINGS);
  byId("statistic-words").textContent = `${statistic.title}${statistic.units ? ` (${statistic.units})` : ""}, ${training.layers[statistic.layer]}${statistic.undefined ? `; ${statistic.undefined}` : ""}`;
  plot.dataset.shown = `${statistic.name}|${statistic.layer}`;
  legend("training-legend", [
    ...(training.seeds.length > 1 ? [
      [mark("line", "#1a1a1a"), "the chosen network"], [mark("line", page.colours.replicate), "other networks"],
      [mark("line", colour), `mean of ${training.seeds.length} networks${known.length ? `, in its ${training.seeds.length < 6 ? "bootstrap" : "95 %"} interval` : ""}`],
    ] : [[mark("line", colour), "the network"]]),
    ...(untrained ? [[mark("line", page.colours.control, { "stroke-dasharray": "5 3" }), training.seeds.length > 1 ? "mean of the untrained networks" : "untrained"]] : []),
    ...Object.keys(statistic.controls).map((name, which) => [mark("line", page.colours.like, { "stroke-dasharray": ["2 2", "6 2 2 2", "8 3", "5 3"][which % 4] }), `control “${name}”: ${training.controls[name]}`]),
    [mark("line", "#1a1a1a", { "stroke-dasharray": "2 3" }), "the checkpoint above"],
  ]);
}

/** Moves the markers to the checkpoint of the slider. */
function moveMarkers() {
  for (const id of ["score-plot", "statistic-plot"]) {
    const plot = byId(id);
    if (!plot.placeOf || !plot.layout?.shapes?.length || theEpoch() === undefined) continue;
    const place = plot.placeOf(theEpoch());
    Plotly.relayout(plot, { "shapes[0].x0": place, "shapes[0].x1": place });
  }
}
