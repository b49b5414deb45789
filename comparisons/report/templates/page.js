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

  // Filtering: every word must stand in the row; a behavior also hides what is about another.
  const form = document.getElementById("filter");
  const words = document.getElementById("words");
  const choice = document.getElementById("behavior");
  const count = document.getElementById("count");
  const rows = all("tbody tr");
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const behavior = choice ? choice.value : "";
    const other = (element) => behavior && element.dataset.behavior && element.dataset.behavior !== behavior;
    for (const row of rows) {
      row.hidden = Boolean(other(row)) || !wanted.every((word) => texts.get(row).includes(word));
    }
    for (const part of all("div[data-behavior]")) part.hidden = Boolean(other(part));
    const visible = rows.filter((row) => !row.hidden && !row.closest("div[data-behavior][hidden]")).length;
    count.textContent = wanted.length || behavior ? `${visible} of ${rows.length} rows` : "";
  };
  if (rows.length > 1) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", filter);
    filter();
  }

  addEventListener("beforeprint", () => { for (const part of all("details")) part.open = true; });

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
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.text = title.textContent;
      title.remove();
      mark.addEventListener("pointermove", (event) => show(mark, event.clientX, event.clientY));
      mark.addEventListener("pointerleave", hide);
    }
    if (!marks.length) continue;
    chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}. Arrow keys read its ${marks.length} values.`);
    let place = -1;
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") return hide();
      if (!step) return undefined;
      event.preventDefault();
      marks[place]?.classList.remove("on");
      place = place < 0 && step < 0 ? marks.length - 1 : (place + step + marks.length) % marks.length;
      marks[place].classList.add("on");
      const box = marks[place].getBoundingClientRect();
      return show(marks[place], box.right, box.top);
    });
    chart.addEventListener("blur", () => { marks[place]?.classList.remove("on"); place = -1; hide(); });
  }
  addEventListener("scroll", hide, { passive: true });
})();
