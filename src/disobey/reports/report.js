// The page works without this file: figures are still, tables unsorted. Data are only ever set as text.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const minus = (text) => text.replace(/^-/, "−");

  // --- figures ---------------------------------------------------------------------------------------------------
  const rowsOf = (columns) => {
    const names = Object.keys(columns);
    const lists = names.map((name) => {
      const column = columns[name];
      return Array.isArray(column) ? column : column.codes.map((code) => (code < 0 ? null : column.levels[code]));
    });
    const n = lists.length ? lists[0].length : 0;
    return Array.from({ length: n }, (_, i) => Object.fromEntries(names.map((name, j) => [name, lists[j][i]])));
  };

  // The same arithmetic as `fitted` in charts.py.
  const fit = (layout, width) => {
    let across = Math.max(1, Math.min(layout.across, layout.panels));
    const room = (n) => (width - layout.chrome - (n - 1) * layout.spacing) / n;
    while (across > 1 && room(across) < layout.narrowest) across -= 1;
    const panel = Math.max(100, Math.min(Math.floor(room(across)), layout.widest));
    return { across, panel, height: layout.aspect ? Math.round(panel * layout.aspect) : layout.height };
  };

  const sized = (drawing, width) => {
    const spec = structuredClone(drawing.spec);
    const { across, panel, height } = fit(drawing.layout, width);
    Object.assign(spec.facet ? spec.spec : spec, { width: panel, height });
    if (spec.facet) spec.columns = across;
    if (drawing.layout.legend) {
      spec.config.legend.columns = Math.max(1, Math.floor((width - 40) / drawing.layout.legend));
    }
    spec.config.legend.labelLimit = Math.min(330, Math.max(100, width - drawing.layout.chrome - 8));
    if (width < 480) spec.config.legend.layout = { top: { direction: "vertical", anchor: "start" } };
    spec.datasets = { rows: drawing.rows.map((row) => ({ ...row })) };
    return spec;
  };

  const hover = document.createElement("div");
  hover.className = "hover";
  hover.hidden = true;
  hover.setAttribute("role", "tooltip");
  document.body.append(hover);

  const written = (value) => {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value).replaceAll("\n", " ");
    return minus(Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4))));
  };
  const told = (row, field) => {
    const upper = row[field + "2"];
    return upper === undefined ? written(row[field]) : `${written(row[field])} to ${written(upper)}`;
  };

  let shown = null; // the element whose text is shown
  const tooltip = (drawing) => (_, event, item, row) => {
    if (!row || typeof row !== "object") {
      hover.hidden = true;
      return;
    }
    shown = event.target;
    hover.replaceChildren();
    const lines = drawing.hover.map(([field, words]) => [words, told(row, field)]);
    if (typeof row.l === "number") lines.push(["interval", `[${written(row.l)}, ${written(row.h)}]`]);
    for (const [words, value] of lines) {
      const term = document.createElement("b");
      const text = document.createElement("span");
      term.textContent = words;
      text.textContent = value;
      hover.append(term, text);
    }
    hover.hidden = false;
    const point = event.touches && event.touches.length ? event.touches[0] : event;
    const box = hover.getBoundingClientRect();
    const left = point.clientX + 14 + box.width > innerWidth ? point.clientX - 14 - box.width : point.clientX + 14;
    const top = point.clientY + 14 + box.height > innerHeight ? point.clientY - 14 - box.height : point.clientY + 14;
    hover.style.left = `${Math.max(4, left)}px`;
    hover.style.top = `${Math.max(4, top)}px`;
  };

  // Vega tells what a pointer moves onto. The page moves under a resting pointer, too: it scrolls, a figure is drawn
  // anew. And a scroll event may come after the move that followed the scrolling. So ask what lies beneath it now.
  let resting = null; // the last event that says where the pointer is
  let finger = false;
  const beneath = () => resting && document.elementFromPoint(resting.clientX, resting.clientY);
  const look = () => {
    const mark = beneath();
    if (mark && mark === shown && !hover.hidden) return;
    hover.hidden = true;
    if (!mark || !mark.closest(".live")) return;
    const { clientX, clientY } = resting;
    mark.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
  };
  const note = (event) => {
    if (!event.isTrusted) return; // from `look`
    resting = event;
    finger = event.pointerType === "touch";
  };
  for (const type of ["pointermove", "pointerdown"]) addEventListener(type, note, { passive: true });
  addEventListener("mouseover", (event) => { resting = event; look(); }); // a tap, too, though no pointer moves in it
  document.documentElement.addEventListener("pointerleave", () => { resting = null; });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hover.hidden = true;
    resting = null; // a look that is still to come after a scroll shall not bring the text back: only a move may
  });
  let moving = 0;
  addEventListener("scroll", () => {
    if (finger) resting = null; // it holds on to the page
    if (beneath() !== shown) hover.hidden = true;
    clearTimeout(moving);
    moving = setTimeout(look, 120);
  }, { capture: true, passive: true });

  const draw = async (figure) => {
    const state = figure.state;
    const plot = figure.querySelector(".plot");
    const live = figure.querySelector(".live");
    const width = Math.floor(plot.clientWidth);
    if (!width || width === state.width) return;
    state.width = width;
    const options = { mode: "vega-lite", ast: true, renderer: "svg", actions: false, tooltip: tooltip(state.drawing) };
    const canvas = document.createElement("div");
    try {
      const embedded = await vegaEmbed(canvas, sized(state.drawing, width), options);
      if (width !== state.width) { // the window has changed again, and a later drawing may be there already
        embedded.finalize();
        return;
      }
      if (state.finalize) state.finalize();
      state.finalize = embedded.finalize;
      embedded.view.addEventListener("click", (_, item) => {
        if (item && item.datum && item.datum.e !== undefined) show(item.datum.e, figure);
      });
      live.replaceChildren(canvas);
      live.hidden = false;
      figure.querySelector(".still").hidden = true;
      figure.dataset.drawn = "yes";
      look();
    } catch (error) {
      console.error("figure stays still:", error);
    }
  };

  const begin = (figure) => {
    const drawing = JSON.parse(figure.querySelector(".drawing").textContent);
    drawing.rows = rowsOf(drawing.columns);
    figure.state = { drawing, width: 0, finalize: null };
    let waiting = 0;
    new ResizeObserver(() => {
      clearTimeout(waiting);
      waiting = setTimeout(() => draw(figure), figure.state.width ? 180 : 0);
    }).observe(figure.querySelector(".plot"));
  };

  // --- one picture with switches, and from a mark to its example ----------------------------------------------------
  document.documentElement.classList.add("scripted");
  const levelsOf = (element) => {
    const holder = element.closest("[data-levels]");
    return holder ? Object.fromEntries(JSON.parse(holder.dataset.levels)) : {};
  };
  const agree = (some, others) => Object.keys(some).every((name) => !(name in others) || some[name] === others[name]);

  // Shows the view with these levels, or the nearest one that has the level that was asked for.
  const turn = (views, wanted, asked) => {
    const each = all(":scope > .view", views);
    const likeness = (view) => {
      const own = levelsOf(view);
      const same = Object.keys(wanted).filter((name) => own[name] === wanted[name]).length;
      return same + (asked && own[asked] === wanted[asked] ? 100 : 0);
    };
    const chosen = each.reduce((best, view) => (likeness(view) > likeness(best) ? view : best));
    for (const view of each) view.hidden = view !== chosen;
    const own = levelsOf(chosen);
    for (const input of all(".switches input", views)) input.checked = own[input.dataset.factor] === input.value;
  };
  for (const views of all(".views")) {
    const chosen = () =>
      Object.fromEntries(all(".switches input:checked", views).map((input) => [input.dataset.factor, input.value]));
    views.querySelector(".switches").hidden = false;
    views.addEventListener("change", (event) => {
      if (event.target.matches(".switches input")) turn(views, chosen(), event.target.dataset.factor);
    });
    turn(views, chosen());
  }

  const unfold = (element) => {
    for (let at = element; at; at = at.parentElement) if (at.matches("details")) at.open = true;
  };
  const show = (key, figure) => {
    const here = levelsOf(figure);
    const found = all("[data-key]").find((one) => one.dataset.key === String(key) && agree(levelsOf(one), here));
    if (!found) return;
    for (const other of all(".found")) other.classList.remove("found");
    const views = found.closest(".views");
    if (views) turn(views, levelsOf(found));
    unfold(found);
    found.classList.add("found");
    found.focus({ preventScroll: true });
    found.scrollIntoView({ block: "center" });
  };
  // A link into something folded opens it.
  const arrive = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) return;
    unfold(target);
    if (target.matches(".folded")) target.querySelector("details").open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", arrive);
  addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) arrive();
  });
  arrive();

  if (typeof vegaEmbed === "function") {
    // Figures far below are drawn when a reader comes near: a phone shows the first page at once.
    const near = new IntersectionObserver((entries) => {
      for (const entry of entries.filter((e) => e.isIntersecting)) {
        near.unobserve(entry.target);
        begin(entry.target);
      }
    }, { rootMargin: "800px" });
    all("figure.figure").forEach((figure) => near.observe(figure));
  }

  for (const button of all("button.save-svg")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const svg = button.closest("figure").querySelector(".still svg");
      const url = URL.createObjectURL(new Blob([svg.outerHTML], { type: "image/svg+xml" }));
      const link = document.createElement("a");
      link.href = url;
      link.download = button.dataset.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    });
  }

  // --- tables ----------------------------------------------------------------------------------------------------
  const sorted = (rows, column, up) => {
    const key = (row) => row.cells[column].dataset.sort;
    const numeric = rows.every((row) => key(row) === "" || !Number.isNaN(Number(key(row))));
    const missing = (row) => (key(row) === "" ? 1 : 0);
    return [...rows].sort((a, b) => {
      if (missing(a) !== missing(b)) return missing(a) - missing(b); // what has no value is last either way
      const order = numeric ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b), "en", { numeric: true });
      return up ? order : -order;
    });
  };

  for (const table of all("table.data")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const body = table.tBodies[0];
        body.append(...sorted([...body.rows], column, up));
      });
    });
  }

  // --- copying the methods ---------------------------------------------------------------------------------------
  for (const button of all("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const section = button.closest("section");
      const prose = section.querySelector(".prose");
      const text = all("p", prose).map((p) => p.textContent).join("\n\n");
      const said = section.querySelector(".copied");
      try {
        await navigator.clipboard.writeText(text);
        said.textContent = "Copied.";
      } catch {
        getSelection().selectAllChildren(prose);
        said.textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with your keyboard.";
      }
    });
  }
})();
