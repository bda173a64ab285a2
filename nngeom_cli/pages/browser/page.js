// The controls, and drawing what they choose.

const VIEWS = { maps: Maps, curves: Curves, examples: Examples };

/** Takes a choice over, and draws what depends on it. */
function choose(choice) {
  const anew = "run" in choice && choice.run !== chosen.run;
  Object.assign(chosen, choice);
  if (anew) enter(true);
  else if (Object.keys(choice).every((key) => key === "epoch")) drawEpoch();
  else draw();
}

/** Fills the controls for the run that is chosen. */
function enter(fresh) {
  const run = theRun(), view = run?.geometry;
  byId("title").textContent = page.sweep ? `Sweep ${page.sweep.name}` : view ? `${view.task}: ${run.name}` : page.title;
  byId("run-label").hidden = page.runs.length < 2;
  fill(byId("run"), page.runs.map((each, place) => [place, each.name]), chosen.run);
  byId("controls").hidden = !view && page.runs.length < 2;
  for (const id of ["training", "metrics", "config", "provenance", "geometry"]) byId(id).hidden = !run;
  if (!run) return say("state", page.sweep ? "No run of the sweep has started." : "The run has not started.");
  if (run.scores) {
    chosen.score = run.scores.scores[chosen.score] ? chosen.score : "loss";
    fill(byId("score"), Object.keys(run.scores.scores).map((name) => [name, SCORES[name]]), chosen.score);
  }
  for (const id of ["epoch", "replicate", "layer", "part"]) (id === "epoch" ? document.querySelector(".slider") : byId(`${id}-label`)).hidden = !view;
  byId("second").hidden = byId("own-line").hidden = !view;
  byId("view-0").parentElement.hidden = !view;
  if (view) enterView(run, view, fresh);
  draw();
}

function enterView(run, view, fresh) {
  const kind = VIEWS[view.kind], parts = kind.parts(view), clip = (place, count) => Math.max(0, Math.min(place, count - 1));
  if (fresh) {
    chosen.replicate = view.first;
    chosen.epoch = view.epochs.length - 1;
    while (chosen.epoch > 0 && !part(view.quantities[0].values, chosen.epoch).some(Number.isFinite)) chosen.epoch--; // it has diverged
    chosen.quantity = kind.preset(view).map((place) => Math.max(0, place));
  }
  chosen.epoch = clip(chosen.epoch, view.epochs.length);
  chosen.replicate = clip(chosen.replicate, view.replicates.length);
  chosen.layer = clip(chosen.layer, view.layers.length);
  chosen.part = clip(chosen.part, Math.max(1, parts.length));
  chosen.quantity = chosen.quantity.map((place) => clip(place, view.quantities.length));
  byId("epoch").max = view.epochs.length - 1;
  fill(byId("replicate"), view.replicates.map(([, words], place) => [place, words]), chosen.replicate);
  fill(byId("layer"), view.layers.map((words, place) => [place, words]), chosen.layer);
  fill(byId("part"), parts.map((words, place) => [place, words]), chosen.part);
  byId("replicate-label").hidden = view.replicates.length < 2;
  byId("layer-label").hidden = view.layers.length < 2;
  byId("part-label").hidden = parts.length < 2;
  byId("part-word").textContent = kind.partWord;
  fill(byId("quantity-0"), kind.first(view), chosen.quantity[0]);
  fill(byId("quantity-1"), kind.second(view), chosen.quantity[1]);
  byId("own-line").hidden = view.kind === "examples";
  if (run.training) {
    const names = [...new Set(run.training.statistics.map((each) => each.name))];
    if (!names.includes(chosen.statistic)) chosen.statistic = usualStatistic(run.training.statistics);
    fill(byId("statistic"), names.map((name) => [name, name.replaceAll("_", " ")]), chosen.statistic);
  }
  const lines = view.boundaries?.left_out;
  say("left-out", [
    view.left_out && `On this page: ${view.left_out} (room for ${view.values.toLocaleString("en")} values of fields). The run directory has all, and the statistics count more.`,
    lines && `${lines} panel${lines > 1 ? "s" : ""} without boundary: it has too many vertices for this page.`,
  ].filter(Boolean).join(" "));
}

/** The first that asks about the boundary, among those that are defined somewhere. */
function usualStatistic(statistics) {
  const defined = statistics.filter((each) => part(each.mean).some(Number.isFinite));
  const asks = defined.find((each) => /_(contrast|entropy|margin|distance)$/.test(each.name));
  return (asks ?? defined[0] ?? statistics[0]).name;
}

function draw() {
  const run = theRun();
  const { status, error, reached, last } = run;
  const progress = reached === null ? "before its first checkpoint" : `epoch ${reached} of ${last}`;
  say("state", run.finished ? (status === "complete" ? "" : `${status}: the loss of ${run.diverged} of ${run.networks} replicates is not finite at the end`) : `${status}: ${progress}${error ? `. ${error}` : ""}`);
  byId("state").classList.toggle("bad", !["complete", "running"].includes(status));
  say("nothing", run.geometry ? "" : run.unseen || "No checkpoint was measured yet.");
  drawTables(run);
  byId("readout").textContent = "";
  if (run.geometry) byId("about").textContent = [...(page.sweep ? [run.name] : []), run.geometry.network, run.geometry.networks > 1 ? `${run.geometry.networks} replicates` : "one network", `epochs 0 to ${run.last}`].join(", ");
  drawScores(run);
  drawStatistic(run);
  drawEpoch();
}

let waiting = false;

/** Draws the checkpoint that is chosen, at most once a frame. */
function drawEpoch() {
  const view = theView();
  if (!view) return;
  byId("epoch").value = chosen.epoch;
  const words = `epoch ${view.epochs[chosen.epoch]}`;
  byId("epoch").setAttribute("aria-valuetext", words);
  byId("epoch-words").textContent = `${words} (${chosen.epoch + 1} of ${view.epochs.length})`;
  byId("before").disabled = chosen.epoch === 0;
  byId("after").disabled = chosen.epoch === view.epochs.length - 1;
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    VIEWS[theView().kind].draw(theView());
    moveMarkers();
    document.body.dataset.drawn = String(theEpoch());
  });
}

let playing = 0;

function play(start) {
  clearInterval(playing);
  playing = 0;
  byId("play").textContent = start ? "Stop" : "Play";
  byId("play").setAttribute("aria-pressed", String(start));
  if (!start) return;
  if (chosen.epoch === theView().epochs.length - 1) choose({ epoch: 0 });
  playing = setInterval(() => (chosen.epoch < theView().epochs.length - 1 ? choose({ epoch: chosen.epoch + 1 }) : play(false)), 500);
}

function listen() {
  const whole = (id, key) => byId(id).addEventListener("change", (event) => choose({ [key]: Number(event.target.value) }));
  byId("controls").addEventListener("submit", (event) => event.preventDefault());
  byId("epoch").addEventListener("input", (event) => choose({ epoch: Number(event.target.value) }));
  byId("before").addEventListener("click", () => choose({ epoch: Math.max(0, chosen.epoch - 1) }));
  byId("after").addEventListener("click", () => choose({ epoch: Math.min(theView().epochs.length - 1, chosen.epoch + 1) }));
  byId("play").addEventListener("click", () => play(!playing));
  whole("run", "run");
  whole("replicate", "replicate");
  whole("layer", "layer");
  whole("part", "part");
  for (const panel of [0, 1]) {
    byId(`quantity-${panel}`).addEventListener("change", (event) => choose({ quantity: chosen.quantity.with(panel, Number(event.target.value)) }));
  }
  byId("own").addEventListener("change", (event) => choose({ own: event.target.checked }));
  byId("score").addEventListener("change", (event) => choose({ score: event.target.value }));
  byId("statistic").addEventListener("change", (event) => choose({ statistic: event.target.value }));
}

/** Where a page is served: asks for newer data now and then, and keeps what the reader has chosen. */
async function follow() {
  const began = performance.now();
  let words = "";
  try {
    const answer = await fetch(`data?have=${encodeURIComponent(page.version)}`);
    if (answer.status === 200) await renew(await answer.json());
    else if (answer.status !== 204) words = await answer.text();
  } catch {
    words = "The server has stopped: what is shown is the last that it sent.";
  }
  say("live", words);
  setTimeout(follow, Math.max(2000, 3 * (performance.now() - began)));
}

async function renew(newer) {
  const before = theView(), newest = before && chosen.epoch === before.epochs.length - 1;
  const epoch = theEpoch(), seed = theSeed(), name = theRun()?.name;
  numbers = await unpacked(newer.numbers);
  page = newer;
  const place = page.runs.findIndex((run) => run.name === name);
  chosen.run = Math.max(0, place);
  const view = theView();
  if (before && view && place >= 0) {
    chosen.epoch = newest ? view.epochs.length - 1 : Math.max(0, view.epochs.findLastIndex((each) => each <= epoch));
    chosen.replicate = Math.max(0, view.replicates.findIndex(([each]) => each === seed));
  }
  drawSweep(page.sweep);
  enter(!before || place < 0);
}

async function start() {
  if (!window.DecompressionStream || !Array.prototype.with) return say("state", "This page needs a browser of 2023 or newer.");
  numbers = await unpacked(page.numbers);
  listen();
  drawSweep(page.sweep);
  enter(true);
  if (page.served) follow();
}

start().catch((error) => {
  say("state", `The page cannot be drawn: ${error.message}`);
  throw error;
});
