// Tables: metrics, config, provenance, and the runs of a sweep.

function cell(content, kind = "") {
  const made = element("td", kind ? { class: kind } : {});
  made.append(...(Array.isArray(content) ? content : [content]));
  return made;
}

/** A name that may break behind its underscores and points. */
const nameOf = (name) => element("code", {}, ...name.split(/(?<=[_.])/).flatMap((piece) => [piece, element("wbr")]));

function fillTable(id, head, rows) {
  const header = element("thead", {}, element("tr", {}, ...head.map((words) => element("th", { scope: "col" }, words))));
  byId(id).replaceChildren(header, element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells))));
}

function drawTables(run) {
  byId("metrics").hidden = !run.metrics.length;
  const layer = run.geometry?.layers[chosen.layer], lines = run.metrics.filter((line) => !run.geometry || !line.layer || line.layer === layer);
  say("metrics-layer", run.geometry && lines.some((line) => line.layer) ? `Of ${layer}; the menu above chooses another.` : "");
  const counts = new Set(lines.map((line) => line.networks)), vary = counts.size > 1;
  byId("metrics-networks").textContent = vary ? "" : `${[...counts][0]} network${counts.has("1") ? "" : "s"}. `;
  const compared = lines.some((line) => line.change || line.control);
  const about = (line) => [line.title, !run.geometry && line.layer].filter(Boolean).join("; ");
  fillTable("metrics-table", ["metric", "value", ...(compared ? ["change in training", "beyond the strongest control"] : []), ...(vary ? ["networks"] : [])], lines.map((line) => [
    cell([nameOf(line.name), ...(about(line) ? [element("small", {}, about(line))] : [])], "long"), cell(line.value, "number"),
    ...(compared ? [cell(line.change, "number"), cell(line.control, "number")] : []), ...(vary ? [cell(line.networks, "number")] : []),
  ]));
  const { known, changed, others } = run.config;
  byId("changed-table").parentElement.hidden = !changed.length;
  fillTable("changed-table", ["differs from the defaults", "value", "default", "meaning"], changed.map(([key, value, usual, meaning]) => [
    cell(nameOf(key)), cell(element("code", {}, value), "long"), cell(element("code", {}, usual), "long"), cell(meaning, "long"),
  ]));
  const summary = byId("config-table").closest("details").querySelector("summary");
  summary.textContent = !known ? "All keys" : changed.length ? "All other keys, which have their default values" : "All keys, which have their default values";
  fillTable("config-table", ["key", "value", "meaning"], others.map(([key, value, meaning]) => [cell(nameOf(key)), cell(element("code", {}, value), "long"), cell(meaning, "long")]));
  fillTable("provenance-table", ["", ""], run.provenance.map(([key, value]) => [cell(key), cell(element("code", {}, value), "long")]));
  say("figures", run.figures.length && !page.sweep ? `Figures beside this page: ${run.figures.map((name) => `figures/${name}`).join(", ")}` : "");
  byId("citation").textContent = `If nngeom helps your work, please cite: ${page.citation.text}`;
  byId("bibtex").textContent = page.citation.bibtex.join("\n");
}

function drawSweep(sweep) {
  byId("sweep").hidden = !sweep;
  if (!sweep) return;
  const rows = sweep.rows.map((row) => {
    const shown = row.run === null ? row.directory : element("button", { type: "button" }, row.directory);
    if (row.run !== null) shown.addEventListener("click", () => choose({ run: row.run }));
    const links = row.figures.flatMap(([name, address]) => [element("a", { href: address }, name), " "]);
    return [cell(shown), ...row.varies.map((value) => cell(value)), cell([row.status, ...(row.note ? [element("small", {}, row.note)] : [])], row.note ? "long" : ""),
      ...sweep.metrics.map((name) => cell(row.metrics[name] ?? "", "number")), cell(links, "number")];
  });
  fillTable("sweep-table", ["run", ...sweep.keys, "status", ...sweep.metrics, "files"], rows);
  const parts = [`${sweep.jobs} run${sweep.jobs === 1 ? "" : "s"}`];
  if (sweep.rows.length < sweep.jobs) parts.push(`the first ${sweep.rows.length} in the table`);
  if (sweep.more_keys.length) parts.push(`also varying: ${sweep.more_keys.join(", ")}`);
  const started = sweep.rows.filter((row) => row.run !== null).length;
  if (started === sweep.most_runs) parts.push(`the first ${started} can be shown below`);
  byId("sweep-words").textContent = `${parts.join("; ")}. A button shows its run below.`;
  byId("sweep-pictures").replaceChildren(...sweep.pictures.map(({ name, png }) => element("figure", {}, element("img", { src: `data:image/png;base64,${png}`, alt: `comparison of the runs: ${name}` }), element("figcaption", {}, name))));
}
