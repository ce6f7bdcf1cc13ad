"use strict";
// Uses the page as a reader would, and writes what came of it to an element of its own.
(async () => {
  const checks = [];
  const check = (name, ok, seen = "") => checks.push({ name, ok: Boolean(ok), seen: String(seen) });
  const soon = (ms = 300) => new Promise((done) => setTimeout(done, ms));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const find = (id) => document.getElementById(id);
  const input = (element, value, kind = "input") => {
    element.value = value;
    element.dispatchEvent(new Event(kind, { bubbles: true }));
  };
  const finish = () => parent.postMessage(JSON.stringify(checks), "*");
  try {
    const packed = Uint8Array.from(atob(find("data").textContent), (each) => each.charCodeAt(0));
    const unzipped = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const data = await new Response(unzipped).json();
    for (let i = 0; i < 100 && !document.documentElement.dataset.ready; i++) await soon(100);
    check("all charts are drawn", document.documentElement.dataset.ready);
    const charts = all(".chart");
    const named = charts.filter((each) => each.getAttribute("aria-label"));
    check("each chart has a text for screen readers", named.length === data.charts.length, named.length);
    check("no chart is empty", charts.every((each) => each.querySelectorAll("svg path").length > 3));

    const wide = document.documentElement.scrollWidth;
    check("nothing is wider than the screen", wide <= innerWidth, `${wide} of ${innerWidth}`);
    const small = all("svg text").filter((each) => each.getBoundingClientRect().height > 0)
      .map((each) => each.getBoundingClientRect().height);
    check("texts of charts are 9 pixels high at least", Math.min(...small) >= 9, Math.min(...small));
    const controls = all("button, input, select").filter((each) => !each.closest(".chart"));
    const nameless = controls.filter((each) =>
      !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length));
    check("every control has a name", nameless.length === 0, nameless.length);

    const point = document.querySelector("[id^=flops-] .mark-symbol.role-mark path");
    const { x, y, width: across, height } = point.getBoundingClientRect();
    for (const kind of ["pointermove", "mousemove"])
      point.dispatchEvent(new PointerEvent(kind,
        { bubbles: true, clientX: x + across / 2, clientY: y + height / 2 }));
    await soon();
    const tip = find("vg-tooltip-element");
    check("a point tells its figures", tip && tip.textContent.includes("FLOPs (M)"), tip && tip.textContent.slice(0, 40));

    const ringed = document.querySelector("[data-ringed]");
    const marks = () => find(ringed.dataset.ringed).querySelectorAll(".mark-symbol.role-mark path").length;
    const unringed = marks();
    input(ringed, ringed.options[1].value, "change");
    await soon();
    const told = find(`${ringed.dataset.ringed}-case`).textContent;
    check("a chosen case has a ring", marks() === unringed + 1, `${marks()} of ${unringed}`);
    check("and its figures in words", told.startsWith(ringed.options[1].text) && told.includes("p50 (ms) "), told);

    const table = document.querySelector("table");
    const heads = [...table.tHead.rows[0].cells];
    const column = heads.findIndex((each) => each.textContent.startsWith("p50"));
    const values = () => [...table.tBodies[0].rows]
      .map((line) => parseFloat(line.cells[column].textContent.replace(/^~/, "")))
      .filter((each) => !isNaN(each));
    const inOrder = (sign) => values().every((value, i, own) => !i || sign * (value - own[i - 1]) >= 0);
    heads[column].querySelector("button").click();
    check("a click sorts up", inOrder(1) && heads[column].ariaSort === "ascending");
    heads[column].querySelector("button").click();
    check("another sorts down", inOrder(-1) && heads[column].ariaSort === "descending");

    const lines = [...table.tBodies[0].rows];
    const word = lines[0].cells[0].textContent.trim().slice(0, 6).toLowerCase();
    input(find("filter"), word);
    const left = lines.filter((line) => !line.hidden);
    check("the filter keeps what has the word", left.length && left.length <= lines.length &&
      left.every((line) => line.textContent.toLowerCase().includes(word)), find("count").textContent);
    input(find("filter"), "");

    const rows = data.titles.flatMap((_, i) => data.sets[`rows${i}`]);
    const sorted = rows.map((row) => row.latency_ci_high_ms).filter(Boolean).sort((a, b) => a - b);
    const ms = sorted[Math.floor(sorted.length / 2)];
    input(find("number"), ms);
    await soon();
    const over = all("tr.over").length;
    const wanted = rows.filter((row) => !(row.latency_ci_high_ms <= ms)).length;
    check("the budget strikes what may be over it", over === wanted, `${over} of ${rows.length}`);
    check("and says what fits", find("fits").textContent.includes(` fit ${ms} ms`), find("fits").textContent);
    input(find("range"), 60);
    await soon();
    check("the slider sets the budget", Number(find("number").value) > 0, find("number").value);
    const front = data.charts.find((each) => each.name === "pareto");
    if (front) {
      const rules = find(front.id).querySelectorAll(".mark-rule line, .mark-rule path");
      const dashed = [...rules].filter((each) => each.getAttribute("stroke-dasharray"));
      check("the budget is a line among the networks", dashed.length === 1, dashed.length);
    }
    input(find("range"), find("range").max);
    await soon();
    check("the slider's end is no limit", !all("tr.over").length && find("number").value === "");

    const past = document.querySelector("[data-shown=history]");
    if (past) {
      const shape = () => find("history").querySelector("svg").outerHTML;
      const before = shape();
      input(past, past.options[1].value, "change");
      await soon();
      check("the history of another case is shown", shape() !== before, past.value);
    }

    const select = document.querySelector("[data-shown^=samples]");
    if (select) {
      const points = () => find(select.dataset.shown).querySelectorAll(".mark-symbol.role-mark path").length;
      const before = points();
      input(select, select.options[1].value, "change");
      await soon();
      check("a case's own samples are shown", points() < before && points() > 0, `${points()} of ${before}`);
    }

    const saved = [];
    HTMLAnchorElement.prototype.click = function () { saved.push([this.download, this.href]); };
    all("[data-file]").forEach((each) => each.click());
    all("[data-image]").slice(0, 2).forEach((each) => each.click());
    await soon(2000);
    const names = saved.map(([name]) => name.replace(/.*\./, "")).sort().join(" ");
    check("files are offered", names === "bib csv json png svg tex", names);
    const kinds = saved.map(([, url]) => url.slice(0, url.indexOf(":"))).join(" ");
    check("from the page itself", /^((blob|data) ?)+$/.test(kinds), kinds);
    document.querySelector("[data-copy]").click();
    await soon();
    check("the setup is copied or selected", find("said").textContent !== "", find("said").textContent);

    const asked = performance.getEntriesByType("resource").map((each) => each.name)
      .filter((name) => !/^(data|blob):/.test(name));
    check("no request leaves the page", asked.length === 0, asked);
    check("nothing complains", window.complaints.length === 0, window.complaints.slice(0, 3));
  } catch (error) {
    check("the checks run", false, error.stack);
  }
  finish();
})();
