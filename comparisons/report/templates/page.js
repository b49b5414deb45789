"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Sorting: numbers by their value, texts by their words; what has no number stands last either way.
  const sortable = (table) => {
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    const rows = [...body.rows];
    if (rows.length < 2) return;
    heads.forEach((head, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const cells = new Map(rows.map((row) => [row, row.cells[place]]));
        const numeric = rows.some((row) => "value" in cells.get(row).dataset);
        const before = head.getAttribute("aria-sort");
        // Large numbers are looked for first, words from A; a third click gives the order of the run back.
        const order = numeric ? ["descending", "ascending", null] : ["ascending", "descending", null];
        const next = order[(order.indexOf(before) + 1) % 3];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        const side = next === "descending" ? -1 : 1;
        const value = (row) => ("value" in cells.get(row).dataset ? Number(cells.get(row).dataset.value) : null);
        const compare = (one, other) => {
          if (!numeric) {
            const texts = [one, other].map((row) => cells.get(row).textContent);
            return side * texts[0].localeCompare(texts[1], undefined, { numeric: true });
          }
          const [a, b] = [value(one), value(other)];
          if (a === null || b === null) return (a === null) - (b === null);
          return side * (a - b);
        };
        body.append(...(next ? [...rows].sort(compare) : rows));
      });
    });
  };
  all("table").forEach(sortable);

  // Columns of second order are hidden until asked.
  for (const table of all("table.wide")) {
    if (!table.querySelector(".minor, .lesser")) continue;
    table.classList.add("few");
    const button = document.createElement("button");
    button.type = "button";
    const paint = () => {
      const few = table.classList.contains("few");
      button.textContent = few ? "All columns" : "Fewer columns";
      button.setAttribute("aria-expanded", String(!few));
    };
    button.addEventListener("click", () => { table.classList.toggle("few"); paint(); });
    paint();
    const line = document.createElement("div");
    line.className = "more";
    line.append(button);
    table.parentElement.after(line);
  }

  // What is wider than its place says so.
  const cut = () => {
    for (const box of all(".table, .panel.wide")) box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
  };
  for (const event of ["resize", "click", "toggle"]) addEventListener(event, () => requestAnimationFrame(cut), true);
  cut();

  // Filtering: every word must stand in the row; a behavior also hides what is about another.
  const form = document.getElementById("filter");
  const words = document.getElementById("words");
  const choice = document.getElementById("behavior");
  const doses = new Map(all("[data-strength][data-cell]").map((mark) => [mark.dataset.cell, mark.dataset.strength]));
  const strengths = [...new Set(doses.values())].sort((a, b) => a - b);
  const strength = document.createElement("select");
  if (strengths.length > 1) {
    const label = document.createElement("label");
    strength.append(new Option("all", ""), ...strengths.map((dose) => new Option(dose)));
    label.append("Strength ", strength);
    form.insertBefore(label, document.getElementById("count"));
  }
  // What narrows a chart stands above it, not above the first table.
  const figure = document.querySelector("figure");
  const narrows = figure && (choice || strengths.length > 1);
  if (narrows && figure.compareDocumentPosition(form) & Node.DOCUMENT_POSITION_FOLLOWING) figure.before(form);
  const count = document.getElementById("count");
  const rows = all("tbody tr");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const behavior = choice ? choice.value : "";
    const other = (element) => behavior && element.dataset.behavior && element.dataset.behavior !== behavior;
    const dose = (element) => element.dataset.strength ?? doses.get(element.dataset.cell);
    const weaker = (element) => Boolean(strength.value && dose(element) && dose(element) !== strength.value);
    for (const mark of all("[data-strength]")) mark.classList.toggle("off", weaker(mark));
    for (const row of rows) {
      row.hidden = Boolean(other(row)) || weaker(row) || !wanted.every((word) => texts.get(row).includes(word));
    }
    for (const part of all("div[data-behavior]:not(.decision)")) part.hidden = Boolean(other(part));
    const visible = rows.filter((row) => !row.hidden && !row.closest("div[data-behavior][hidden]")).length;
    count.textContent = wanted.length || behavior || strength.value ? `${visible} of ${rows.length} rows` : "";
  };
  if (rows.length > 1) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", filter);
    filter();
  }

  // From a number to its questions: those of its cell, furthest moved first, before and after.
  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const held = document.getElementById("items");
  const data = held ? JSON.parse(held.textContent) : { sets: {}, cells: {} };
  const KINDS = { choices: "Questions on the behavior", knowledge: "Knowledge questions", answers: "Free answers" };
  const PAGE = 25;
  const fixed = (value, places = 3) => (value === null || value === undefined ? "–" : value.toFixed(places));
  const moved = (value, places) => (value === null ? "–" : (value < -0.5 / 10 ** places ? "-" : "+") + Math.abs(value).toFixed(places));
  // An answer is a text with its score, which may be missing; a question has a number.
  const scored = (value) => (Array.isArray(value) ? value[1] : value);
  // The questions that a place opens: those on a behavior, of a cell of that behavior, are its own.
  const kindOf = (cell, opens = "choices") => [opens === `side:${cell?.choices?.[0]}` ? "choices" : opens].find((kind) => cell?.[kind]);
  const titleOf = (kind) => KINDS[kind] ?? `Questions on ${kind.replace("side:", "")}`;
  const lines = (cell, kind, base) => {
    const [name, after] = cell[kind];
    const before = base?.[kind]?.[1] ?? [];
    const found = data.sets[name].map((question, i) => {
      const pair = [before[i] ?? null, after[i] ?? null];
      const [one, other] = pair.map(scored);
      return { question, pair, by: one === null || other === null ? null : other - one };
    });
    return found.filter((line) => line.pair[1] !== null).sort((a, b) => Math.abs(b.by ?? 0) - Math.abs(a.by ?? 0));
  };
  const bar = (line) => {
    const [one, other] = line.pair;
    const track = made("span", { className: "track", ariaHidden: "true" }, made("span", { className: "bar" }));
    track.firstChild.style.cssText = `left:${100 * Math.min(one, other)}%;width:${100 * Math.abs(line.by)}%`;
    return made("span", { className: line.by < 0 ? "change neg" : "change" }, track);
  };
  const asked = ({ question: [text, matching, contrast, topic, label], pair, by }, kind, names) => {
    const places = kind === "answers" ? 2 : 3;
    const item = made("li", {}, made("p", { className: "asked", textContent: text }));
    if (kind === "answers") {
      const sides = names.map((word, i) => made("div", {}, made("small", {}, `${word}, score ${fixed(pair[i] && pair[i][1], 2)}`), made("p", { textContent: pair[i] ? pair[i][0] || "(nothing)" : "–" })));
      item.append(made("div", { className: "sides" }, ...sides));
    } else {
      const right = kind === "knowledge" ? "right" : "matching";
      item.append(made("p", {}, made("small", {}, right), ` ${matching}`), made("p", {}, made("small", {}, kind === "knowledge" ? "wrong" : "contrast"), ` ${contrast}`));
    }
    const tags = [topic, label].filter(Boolean).join(", ");
    const value = kind === "answers" ? "score" : kind === "knowledge" ? "p(right)" : "p_match";
    const line = made("p", { className: "moved" }, `${value} ${fixed(scored(pair[0]), places)} → ${fixed(scored(pair[1]), places)}, `, made("strong", {}, moved(by, places)), made("small", {}, tags && ` ${tags}`));
    if (kind !== "answers" && by !== null) line.append(bar({ pair, by }));
    item.append(line);
    return item;
  };
  const chooser = (name, values) => {
    const choose = made("select", {}, made("option", { value: "", textContent: "all" }), ...values.map((value) => made("option", { textContent: value })));
    return [made("label", {}, `${name} `, choose), choose];
  };
  // Before is the unchanged model, or the other cell where two are compared.
  const look = (key, kind, against) => {
    const cell = data.cells[key];
    const base = data.cells[against || cell.base];
    const names = against ? [base.name, cell.name] : ["before", "after"];
    const dialog = made("dialog", { className: "items" });
    dialog.setAttribute("aria-labelledby", "items-title");
    const close = made("button", { type: "button", textContent: "Close" });
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("close", () => dialog.remove());
    const head = made("div", { className: "head" }, made("h2", { id: "items-title", textContent: against ? `${base.name} → ${cell.name}` : cell.name }), close);
    const kinds = made("p", { className: "kinds" });
    const body = made("div");
    const show = (which) => {
      all("button", kinds).forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === titleOf(which))));
      const every = lines(cell, which, base);
      const words = made("input", { type: "search" });
      const form = made("form", {}, made("label", {}, "Find ", words));
      const filters = [["topic", 3], ["label", 4]].map(([name, place]) => {
        const values = [...new Set(every.map((line) => line.question[place]).filter(Boolean))].sort();
        const [label, choose] = chooser(name, values);
        if (values.length > 1) form.append(label);
        return (line) => !choose.value || line.question[place] === choose.value;
      });
      const found = made("output");
      const list = made("ol");
      const more = made("button", { type: "button", textContent: "More" });
      let left = [];
      const next = () => {
        list.append(...left.splice(0, PAGE).map((line) => asked(line, which, names)));
        more.hidden = !left.length;
      };
      const filter = () => {
        const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
        const texts = (line) => [...line.question, ...line.pair.flat()].join(" ").toLowerCase();
        left = every.filter((line) => filters.every((keeps) => keeps(line)) && wanted.every((word) => texts(line).includes(word)));
        found.textContent = `${left.length} of ${every.length}, furthest moved first`;
        list.replaceChildren();
        next();
      };
      more.addEventListener("click", () => { const place = list.children.length; next(); list.children[place].tabIndex = -1; list.children[place].focus(); });
      form.append(found);
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("input", filter);
      body.replaceChildren(form, list, more);
      filter();
    };
    for (const which of Object.keys(cell).filter((name) => Array.isArray(cell[name]))) {
      const button = made("button", { type: "button", textContent: titleOf(which) });
      button.addEventListener("click", () => show(which));
      kinds.append(button, " ");
    }
    dialog.append(head, kinds, body);
    document.getElementById("report").append(dialog);
    show(kind);
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  for (const place of all("[data-opens]")) {
    const key = place.closest("[data-cell]")?.dataset.cell;
    const { opens, against } = place.dataset;
    const kind = kindOf(data.cells[key], opens);
    if (place.matches(".mark") || !kind || (against && !data.cells[against]?.[kind])) continue;
    const button = made("button", { type: "button", className: "opens", title: "Its questions, furthest moved first" });
    button.append(...[...place.childNodes].filter((node) => node.nodeName !== "SMALL"));
    button.addEventListener("click", () => look(key, kind, against));
    place.prepend(button);
  }

  // Copying a command or a program.
  for (const block of all(".code")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      const text = block.querySelector("code").textContent;
      try {
        await navigator.clipboard.writeText(text);
      } catch {
        const area = document.createElement("textarea");
        area.value = text;
        document.body.append(area);
        area.select();
        document.execCommand("copy");
        area.remove();
        button.focus();
      }
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    block.querySelector("pre").classList.add("copied");
    block.append(button);
  }

  // Charts: a mark's text beside the pointer; with the keyboard, arrows step from mark to mark.
  const tip = document.getElementById("tip");
  const show = (mark, x, y) => {
    tip.textContent = mark.dataset.text;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - box.width - 8))}px`;
    tip.style.top = `${y + box.height + 20 > innerHeight ? y - box.height - 10 : y + 14}px`;
  };
  const hide = () => { tip.textContent = ""; };
  for (const chart of all("svg.chart")) {
    const marks = all(".mark", chart);
    const opened = (mark) => kindOf(data.cells[mark.dataset.cell], mark.dataset.opens);
    const opens = (mark) => mark && opened(mark) && look(mark.dataset.cell, opened(mark));
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.text = title.textContent;
      title.remove();
      mark.addEventListener("click", () => opens(mark));
      mark.classList.toggle("opens", Boolean(opened(mark)));
      mark.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
      mark.addEventListener("pointerleave", hide);
    }
    if (!marks.length) continue;
    chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}. Arrow keys read its ${marks.length} values${marks.some((mark) => mark.classList.contains("opens")) ? ", Enter opens the questions of one" : ""}.`);
    let place = -1;
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") return hide();
      if (event.key === "Enter") return opens(marks[place]);
      if (!step) return undefined;
      event.preventDefault();
      marks[place]?.classList.remove("on");
      const off = (mark) => mark.matches(".off, .gone");
      if (marks.every(off)) return undefined;
      if (place < 0 && step < 0) place = 0;
      do place = (place + step + marks.length) % marks.length; while (off(marks[place]));
      marks[place].classList.add("on");
      const box = marks[place].getBoundingClientRect();
      return show(marks[place], box.right, box.top);
    });
    chart.addEventListener("blur", () => { marks[place]?.classList.remove("on"); place = -1; hide(); });
  }
  // A legend's entry shows and hides what it stands for.
  for (const figure of all("figure")) {
    const drawn = Map.groupBy(all("[data-series]", figure), (mark) => mark.dataset.series);
    for (const entry of all(".legend li", figure)) {
      const marks = drawn.get(entry.textContent.trim());
      if (!marks || drawn.size < 2) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...entry.childNodes);
      button.addEventListener("click", () => {
        const gone = button.getAttribute("aria-pressed") === "true";
        button.setAttribute("aria-pressed", String(!gone));
        for (const mark of marks) mark.classList.toggle("gone", gone);
      });
      entry.append(button);
    }
  }
  for (const place of all("[data-tip]")) {
    const mark = { dataset: { text: place.dataset.tip } };
    place.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
    place.addEventListener("pointerleave", hide);
  }
  addEventListener("scroll", hide, { passive: true });
})();
