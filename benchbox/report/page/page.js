"use strict";
(async () => {
  if (!self.DecompressionStream) {
    document.getElementById("said").textContent = "charts need a browser of 2023 or later";
    return;
  }
  const packed = atob(document.getElementById("data").textContent);
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const unzipped = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const page = await new Response(unzipped).json();
  const find = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const views = new Map();

  const unpacked = (packed) =>
    packed.ms.map((ms, i) => ({
      n: packed.n[i],
      case: packed.cases[packed.case[i]],
      cause: packed.causes[packed.cause[i]],
      ms,
      over: ms / packed.p50_ms[packed.case[i]],
      process: packed.process[i],
    }));
  const sets = { ...page.sets };
  for (const [name, packed] of Object.entries(page.samples)) sets[name] = unpacked(packed);

  // Charts -------------------------------------------------------------------------------------
  const narrow = matchMedia("(max-width: 640px)");
  const ink = "currentColor";
  const inks = {
    axis: { labelColor: ink, titleColor: ink, domainColor: ink, tickColor: ink, gridColor: "#8886" },
    legend: { labelColor: ink, titleColor: ink },
    header: { labelColor: ink, titleColor: ink },
    text: { color: ink },
    style: { halo: { stroke: "var(--card)" } },
    rule: { color: ink },
  };

  function spec(chart, onPage) {
    const config = structuredClone(page.config[narrow.matches ? 1 : 0]);
    for (const [part, colours] of Object.entries(onPage ? inks : {}))
      config[part] = { ...config[part], ...colours };
    const body = narrow.matches ? chart.narrow : chart.wide;
    const text = JSON.stringify(body);
    const own = Object.entries(sets).filter(([name]) => text.includes(`"${name}"`));
    return {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      ...body,
      datasets: Object.fromEntries(own),
      config,
      background: onPage ? null : "white",
    };
  }

  function tip(value, sanitize) {
    const known = Object.entries(value).filter(([, text]) => !["null", "-", ""].includes(String(text)));
    const line = ([name, text]) =>
      `<tr><td class="key">${sanitize(name)}</td><td class="value">${sanitize(text)}</td></tr>`;
    return `<table>${known.map(line).join("")}</table>`;
  }

  async function draw() {
    for (const chart of page.charts) {
      const old = views.get(chart.id);
      const options = { renderer: "svg", actions: false, tooltip: { theme: "custom", formatTooltip: tip } };
      const { view } = await vegaEmbed(find(chart.id), spec(chart, true), options);
      if (old) old.finalize();
      views.set(chart.id, view);
      setSignals(chart, view);
      await view.runAsync();
    }
    document.documentElement.dataset.ready = "yes";
  }

  function setSignals(chart, view) {
    if (chart.name === "pareto") view.signal("budget", budget() ?? 0);
    for (const name of ["shown", "ringed"]) {
      const select = all(`[data-${name}]`).find((each) => each.dataset[name] === chart.id);
      if (select) view.signal(name, select.value);
    }
  }

  function update() {
    for (const chart of page.charts) {
      const view = views.get(chart.id);
      if (view) {
        setSignals(chart, view);
        view.runAsync();
      }
    }
  }

  // Files --------------------------------------------------------------------------------------
  function save(name, url) {
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    document.body.append(link);
    link.click();
    link.remove();
  }

  const json = () => {
    const picked = (row) => Object.fromEntries(page.columns.map((name) => [name, row[name]]));
    return JSON.stringify(records.map(picked), null, 2) + "\n";
  };

  async function image(id, type) {
    const chart = page.charts.find((each) => each.id === id);
    const nowhere = document.createElement("div");
    const { view } = await vegaEmbed(nowhere, spec(chart, false), { actions: false });
    setSignals(chart, view);
    await view.runAsync();
    save(`${id}.${type}`, await view.toImageURL(type, type === "png" ? 3 : 1));
    view.finalize();
  }

  async function copy(text, from) {
    try {
      await navigator.clipboard.writeText(text);
      find("said").textContent = "copied";
    } catch {
      getSelection().selectAllChildren(from);
      find("said").textContent = "selected; copy it with the keyboard";
    }
  }

  addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const { copy: from, file, image: type, chart } = button.dataset;
    if (from) copy(find(from).textContent, find(from));
    if (file) save(`benchbox.${file}`, URL.createObjectURL(new Blob([page.files[file] ?? json()])));
    if (type) image(chart, type);
  });

  // Table --------------------------------------------------------------------------------------
  const table = document.querySelector("table");
  const body = table.tBodies[0];
  const panels = page.titles.map((_, index) => page.sets[`rows${index}`]);
  const records = panels.flat();
  const lines = [...body.rows];

  const inOrder = new Intl.Collator("en", { numeric: true }).compare;
  function compared([x], [y], direction) {
    if (x === null || y === null) return (x === null) - (y === null);
    return direction * (typeof x === "number" ? x - y : inOrder(x, y));
  }

  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head) return;
    const direction = head.ariaSort === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
    head.ariaSort = direction > 0 ? "ascending" : "descending";
    const pairs = lines.map((line, i) => [records[i][head.dataset.field], line]);
    body.append(...pairs.sort((a, b) => compared(a, b, direction)).map(([, line]) => line));
  });

  function filter() {
    const words = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const line of lines) {
      const text = line.textContent.toLowerCase();
      line.hidden = !words.every((word) => text.includes(word));
    }
    const left = lines.filter((line) => !line.hidden).length;
    find("count").textContent = left < lines.length ? `${left} of ${lines.length}` : "";
  }
  find("filter").addEventListener("input", filter);

  // Cases of charts: one has a ring and its figures in words, for whoever has no mouse ----------
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  const words = (line) =>
    [...line.cells].map((cell, i) => [i ? heads[i] : "", cell.textContent.trim()])
      .filter(([, text]) => text !== "-").map((pair) => pair.join(" ").trim()).join(", ");
  for (const select of all("[data-ringed]")) {
    const chart = page.charts.find((each) => each.id === select.dataset.ringed);
    const drawn = panels[chart.panel].filter((row) => row.latency_p50_ms && row[chart.axis]);
    for (const row of drawn) select.add(new Option(row.name, row.key));
    select.addEventListener("change", () => {
      const row = drawn[select.selectedIndex - 1];
      find(`${chart.id}-case`).textContent = row ? words(lines[records.indexOf(row)]) : "";
      update();
    });
  }

  // Budget -------------------------------------------------------------------------------------
  const range = find("range"), number = find("number");
  const times = records.map((row) => row.latency_p50_ms).filter(Boolean);
  const low = Math.min(...times) / 1.2, high = Math.max(...times) * 1.2;
  const last = range ? Number(range.max) : 0;

  const budget = () => (number && Number(number.value) > 0 ? Number(number.value) : null);
  const fits = (row, ms) =>
    !row.latency_p50_ms ? "no"
    : (row.latency_ci_high_ms ?? row.latency_p50_ms) <= ms ? "yes"
    : (row.latency_ci_low_ms ?? row.latency_p50_ms) <= ms ? "maybe" : "no";

  function sentence(rows, title, ms) {
    const own = rows.filter((row) => fits(row, ms) === "yes");
    const may = rows.filter((row) => fits(row, ms) === "maybe").length;
    const counted = `${own.length} of ${rows.length} fit ${ms} ms` + (may ? `, ${may} may` : "");
    const known = own.filter((row) => row.accuracy != null);
    const best = known.sort((a, b) => b.accuracy - a.accuracy)[0];
    const said = best
      ? `${counted}; the most accurate is ${best.name} (${best.accuracy}%), ${Number(best.latency_p50_ms.toPrecision(3))} ms`
      : counted;
    return page.shown.length > 1 ? `${title}: ${said}` : said;
  }

  function spend() {
    const ms = budget();
    lines.forEach((line, i) =>
      line.classList.toggle("over", ms !== null && fits(records[i], ms) !== "yes"));
    find("fits").textContent = ms === null
      ? "no limit"
      : page.shown.map((i) => sentence(panels[i], page.titles[i], ms)).join("; ");
    range.setAttribute("aria-valuetext", ms === null ? "no limit" : `${ms} ms`);
    update();
  }

  if (range) {
    range.addEventListener("input", () => {
      const at = Number(range.value);
      const ms = low * (high / low) ** (at / last);
      number.value = at === last ? "" : Number(ms.toPrecision(3));
      spend();
    });
    number.addEventListener("input", () => {
      const ms = budget();
      const at = ms === null ? last : (last * Math.log(ms / low)) / Math.log(high / low);
      range.value = Math.round(Math.max(0, Math.min(last, at)));
      spend();
    });
    find("budget").addEventListener("submit", (event) => event.preventDefault());
    spend();
  }

  for (const each of all("[data-shown]")) each.addEventListener("change", update);
  narrow.addEventListener("change", draw);
  draw();
})();
