"use strict";
// What the page can do beyond its text: every request in a list that sorts, searches, filters, zooms and pans.
// In: the blocks of JSON that html/data.rs wrote. Text is set as text, never as markup.
(() => {
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") element.className = value;
      else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  // Three digits, as the text has them.
  const digits = (n) => (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2));
  const scaled = (n, step, units) => {
    let at = 0;
    while (at + 1 < units.length && n >= step * 0.9995) [n, at] = [n / step, at + 1];
    return at === 0 ? `${Math.round(n)} ${units[0]}` : `${digits(n)} ${units[at]}`;
  };
  const two = (n) => String(n).padStart(2, "0");
  const time = (ns) => {
    if (ns < 59.95e9) return scaled(ns, 1000, ["ns", "µs", "ms", "s"]);
    const [seconds, minutes] = [Math.round(ns / 1e9), Math.round(ns / 6e10)];
    return ns < 3599.5e9 ? `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
  };
  const size = (bytes) => scaled(bytes, 1000, ["B", "kB", "MB", "GB"]);
  const clamp = (n, least, most) => Math.min(Math.max(n, least), most);

  // Fields of a row, in the order of html/data.rs.
  const [PHASE, KIND, NAME, START, TOOK, FIRST, STATUS, FLAGS, BYTES, PLACE, HOST, PATH, NOTE] = Array(13).keys();
  const FAILED = 1, OPEN = 2;
  const phone = window.matchMedia("(max-width: 640px)");
  const COLUMNS = [
    ["kind", "kind", (row, s) => s[row[KIND]]],
    ["what", "name", (row) => row[NAME]],
    ["status", "status", (row, s) => s[row[STATUS]]],
    ["took", "figure", (row) => row[TOOK]],
    ["first byte", "figure", (row) => row[FIRST]],
    ["size", "figure", (row) => row[BYTES]],
    ["start", "when", (row) => row[START]],
  ];

  function explore(place, data) {
    const { rows, strings, places, phases, wall } = data;
    const view = { from: 0, to: wall, sort: 6, down: false, text: "", status: "all", place: -1, hidden: new Set() };
    let shown = [], chosen = -1, pending = false;
    const id = place.id;

    // Controls.
    const search = make("input", { type: "search", placeholder: "module, host, path, status", "aria-label": "Search",
      oninput: () => { view.text = search.value.toLowerCase(); choose(); } });
    const status = make("select", { "aria-label": "Show", onchange: () => { view.status = status.value; choose(); } },
      ...[["all", "all"], ["failed", "failed"], ["open", "unfinished"], ["slow", "slowest tenth"]]
        .map(([value, text]) => make("option", { value }, text)));
    const order = make("select", { "aria-label": "Sort by", class: "order", onchange: () => {
      view.sort = Number(order.value); view.down = view.sort >= 3 && view.sort <= 5; choose();
    } }, ...COLUMNS.map(([name], at) => make("option", { value: at }, `by ${name}`)));
    order.value = "6";
    const button = (text, label, act) => make("button", { type: "button", "aria-label": label, title: label, onclick: act }, text);
    const only = make("button", { type: "button", class: "only", hidden: "", onclick: () => { view.place = -1; choose(); } });
    const found = make("output", { class: "soft" });
    const bar = make("div", { class: "tools" }, search, status, order,
      make("span", { class: "group" }, button("−", "Zoom out", () => zoom(2)), button("+", "Zoom in", () => zoom(0.5)),
        button("◂", "Earlier", () => pan(-0.25)), button("▸", "Later", () => pan(0.25)),
        button("all", "The whole time", () => show(0, wall))), only, found);
    const legend = make("div", { class: "legend", role: "group", "aria-label": "Phases" });
    const counts = new Map();
    for (const row of rows) counts.set(row[PHASE], (counts.get(row[PHASE]) ?? 0) + 1);
    for (const phase of [...counts.keys()].sort((a, b) => a - b)) {
      const chip = make("button", { type: "button", "aria-pressed": "true", class: `chip ${phases[phase]}`, onclick: () => {
        if (!view.hidden.delete(phase)) view.hidden.add(phase);
        chip.setAttribute("aria-pressed", String(!view.hidden.has(phase)));
        choose();
      } }, make("i"), `${phases[phase]} ${counts.get(phase)}`);
      legend.append(chip);
    }
    legend.append(make("span", { class: "soft" }, "paler: no byte of the answer yet; red below: failed or unfinished"));

    // The whole time, small; what is shown below is framed.
    const frame = make("div", { class: "frame" });
    const picture = make("canvas", { role: "img", "aria-label": "All of them over the whole time, by phase" });
    const overview = make("div", { class: "overview" }, picture, frame);
    const colours = () => phases.map((name) => {
      const probe = make("span", { class: name });
      place.append(probe);
      const colour = getComputedStyle(probe).getPropertyValue("--phase").trim() || "#888";
      probe.remove();
      return colour;
    });
    function draw() {
      const [width, height] = [overview.clientWidth, overview.clientHeight];
      if (width === 0) return;
      const scale = window.devicePixelRatio || 1;
      [picture.width, picture.height] = [width * scale, height * scale];
      const context = picture.getContext("2d");
      context.scale(scale, scale);
      const colour = colours();
      // Each in a line of its own by its turn, so that a burst is as tall as it is.
      const step = Math.max(height / Math.max(rows.length, 1), 0.01);
      rows.forEach((row, at) => {
        context.fillStyle = colour[row[PHASE]];
        context.fillRect(row[START] / wall * width, at * step, Math.max(row[TOOK] / wall * width, 1), Math.max(step, 1));
      });
    }

    // The list: as many rows as can be seen, and they are used over and over.
    const head = make("div", { class: "head", role: "row", "aria-rowindex": "1" });
    const axis = make("div", { class: "axis" });
    const titles = COLUMNS.map(([name, kind], at) => {
      const cell = make("div", { role: "columnheader", class: kind }, make("button", { type: "button", onclick: () => {
        view.down = view.sort === at ? !view.down : at >= 3 && at <= 5;
        view.sort = at;
        order.value = String(at);
        choose();
      } }, name));
      return cell;
    });
    titles.at(-1).append(axis);
    head.append(...titles);
    const space = make("div", { class: "space", role: "presentation" });
    const list = make("div", { class: "list", role: "grid", tabindex: "0", "aria-label": "Requests, queries, handshakes" },
      make("div", { role: "rowgroup", class: "top" }, head), make("div", { role: "rowgroup", class: "body" }, space));
    const body = list.lastChild;
    const details = make("div", { class: "details", hidden: "", role: "region", "aria-label": "Details" });
    const pool = [];
    const height = () => (phone.matches ? 46 : 25);

    function line() {
      const cells = COLUMNS.map(([, kind]) => make("div", { role: "gridcell", class: kind }));
      const [waits, comes] = [make("i", { class: "waits" }), make("i", { class: "comes" })];
      cells.at(-1).append(waits, comes);
      const element = make("div", { role: "row", class: "row" }, ...cells);
      element.addEventListener("click", () => open(made.at));
      element.addEventListener("dblclick", () => fit(shown[made.at]));
      const made = { element, cells, waits, comes, at: -1, row: null };
      return made;
    }
    function fill(made, at) {
      const row = shown[at];
      Object.assign(made, { at, row });
      const { element, cells } = made;
      element.id = `${id}-${at}`;
      element.setAttribute("aria-rowindex", at + 2);
      element.style.transform = `translateY(${at * height()}px)`;
      const flags = row[FLAGS];
      element.className = `row ${phases[row[PHASE]]}${flags ? " fails" : ""}${at % 2 ? " odd" : ""}`;
      cells[0].textContent = strings[row[KIND]];
      cells[1].textContent = row[NAME];
      cells[2].textContent = strings[row[STATUS]];
      cells[3].textContent = time(row[TOOK]) + (flags & OPEN ? "…" : "");
      cells[4].textContent = row[FIRST] < 0 ? "" : time(row[FIRST]);
      cells[5].textContent = row[BYTES] < 0 ? "" : size(row[BYTES]);
    }
    // A row's bar, in percent of what is shown.
    function bars(made) {
      const { row, waits, comes } = made;
      const span = view.to - view.from;
      const at = (ns) => (ns - view.from) / span * 100;
      const [left, right] = [row[START], row[START] + row[TOOK]];
      const first = row[FIRST] >= 0 ? row[START] + row[FIRST] : row[FLAGS] & OPEN ? right : left;
      const put = (element, from, to, least) => {
        const [a, b] = [clamp(at(from), 0, 100), clamp(at(to), 0, 100)];
        const gone = at(to) < 0 || at(from) > 100 || (to <= from && !least);
        element.style.display = gone ? "none" : "";
        element.style.left = `${Math.min(a, 99.8)}%`;
        element.style.width = `${Math.max(b - a, least ? 0.2 : 0)}%`;
      };
      put(waits, left, first, first > left);
      put(comes, first, right, first === left);
    }
    function render() {
      pending = false;
      const tall = height();
      const top = Math.max(list.scrollTop - head.offsetHeight, 0);
      const from = clamp(Math.floor(top / tall) - 2, 0, Math.max(shown.length - 1, 0));
      const to = Math.min(from + Math.ceil(list.clientHeight / tall) + 5, shown.length);
      while (pool.length < to - from) {
        const made = line();
        pool.push(made);
        body.append(made.element);
      }
      // A row stays where it is while it can be seen.
      for (let at = from; at < to; at++) {
        const made = pool[at % pool.length];
        if (made.at !== at || made.row !== shown[at]) fill(made, at);
        made.element.hidden = false;
        made.element.setAttribute("aria-selected", String(at === chosen));
        bars(made);
      }
      for (const made of pool) if (made.at < from || made.at >= to) made.element.hidden = true;
      frame.style.left = `${view.from / wall * 100}%`;
      frame.style.width = `${Math.max((view.to - view.from) / wall * 100, 0.3)}%`;
      ticks();
    }
    function ticks() {
      const span = view.to - view.from;
      const many = phone.matches ? 3 : 6;
      let step = 10 ** Math.floor(Math.log10(span / many));
      for (const more of [2, 2.5, 2]) if (span / step > many) step *= more;
      const marks = [];
      for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) marks.push(at);
      while (axis.children.length < marks.length) axis.append(make("span"));
      [...axis.children].forEach((mark, at) => {
        mark.hidden = at >= marks.length;
        if (mark.hidden) return;
        const left = (marks[at] - view.from) / span * 100;
        mark.hidden = left > 86;
        mark.style.left = `${left}%`;
        mark.textContent = marks[at] === 0 ? "0" : time(marks[at]);
      });
    }
    // As tall as its rows are, up to what the style sheet allows.
    function grow() {
      space.style.height = `${shown.length * height()}px`;
      list.style.height = `min(var(--most), ${shown.length * height() + head.offsetHeight + 4}px)`;
    }
    const later = () => { if (!pending) { pending = true; requestAnimationFrame(render); } };

    // What is shown, and in which order.
    function choose() {
      const words = view.text.split(/\s+/).filter(Boolean);
      const limit = view.status === "slow" ? rows.map((row) => row[TOOK]).sort((a, b) => b - a)[Math.floor(rows.length / 10)] : 0;
      const has = (row) => {
        if (view.hidden.has(row[PHASE]) || (view.place >= 0 && row[PLACE] !== view.place)) return false;
        if (view.status === "failed" && !(row[FLAGS] & FAILED)) return false;
        if (view.status === "open" && !(row[FLAGS] & OPEN)) return false;
        if (view.status === "slow" && row[TOOK] < limit) return false;
        if (words.length === 0) return true;
        const text = `${strings[row[KIND]]} ${row[NAME]} ${strings[row[HOST]]} ${row[PATH]} ${strings[row[STATUS]]} ${phases[row[PHASE]]}`.toLowerCase();
        return words.every((word) => text.includes(word));
      };
      const key = COLUMNS[view.sort][2];
      const sign = view.down ? -1 : 1;
      const old = shown[chosen];
      shown = rows.filter(has).sort((a, b) => {
        const [x, y] = [key(a, strings), key(b, strings)];
        return (x < y ? -1 : x > y ? 1 : 0) * sign || a[START] - b[START];
      });
      chosen = old ? shown.indexOf(old) : -1;
      found.value = shown.length === rows.length ? `${rows.length} rows` : `${shown.length} of ${rows.length} rows`;
      only.hidden = view.place < 0;
      only.textContent = view.place < 0 ? "" : `only ${places[view.place][0]} ✕`;
      titles.forEach((title, at) => title.setAttribute("aria-sort", at !== view.sort ? "none" : view.down ? "descending" : "ascending"));
      grow();
      list.setAttribute("aria-rowcount", shown.length + 1);
      for (const made of pool) made.row = null;
      list.scrollTop = 0;
      later();
    }
    function show(from, to) {
      const span = clamp(to - from, Math.min(1000, wall), wall);
      view.from = clamp(from, 0, wall - span);
      view.to = view.from + span;
      later();
    }
    const zoom = (by, at = 0.5) => {
      const span = view.to - view.from;
      const fixed = view.from + span * at;
      show(fixed - span * by * at, fixed + span * by * (1 - at));
    };
    const pan = (by) => { const span = view.to - view.from; show(view.from + span * by, view.to + span * by); };
    const fit = (row) => show(row[START] - row[TOOK] * 0.3, row[START] + Math.max(row[TOOK] * 1.3, 1000));

    // One row's details.
    function open(at) {
      const row = shown[at];
      if (!row) return;
      chosen = at;
      const list = make("dl");
      const say = (name, ...value) => { if (value.some((part) => part !== "")) list.append(make("dt", {}, name), make("dd", {}, ...value)); };
      const [title, about] = places[row[PLACE]];
      const beside = rows.filter((other) => other !== row && other[START] <= row[START] && other[START] + other[TOOK] > row[START]).length;
      say("phase", phases[row[PHASE]]);
      say("URL", row[PATH]);
      say("status", strings[row[STATUS]]);
      say("began", `at ${time(row[START])}, ${beside === 0 ? "nothing else in flight" : `${beside} other${beside === 1 ? "" : "s"} in flight`}`);
      say("took", time(row[TOOK]) + (row[FLAGS] & OPEN ? " so far" : ""));
      if (row[FIRST] >= 0) {
        const comes = row[TOOK] - row[FIRST];
        const part = Math.round(row[FIRST] / Math.max(row[TOOK], 1) * 100);
        const split = make("span", { class: `split ${phases[row[PHASE]]}` }, make("i", { class: "waits" }), make("i", { class: "comes" }));
        split.firstChild.style.width = `${part}%`;
        split.lastChild.style.width = `${100 - part}%`;
        say("of it", split, ` ${time(row[FIRST])} until the first byte, ${time(comes)} until the last`);
      }
      say("size", row[BYTES] < 0 ? "" : size(row[BYTES]));
      say("host", strings[row[HOST]]);
      say(row[PATH] === "" ? "place" : "connection", [title, about].filter(Boolean).join(": "));
      say("note", row[NOTE]);
      details.replaceChildren(make("h3", {}, `${strings[row[KIND]]} ${row[NAME]}`), list, make("div", { class: "tools" },
        button("Zoom to it", "Zoom to it", () => fit(row)),
        button("Only this connection", `Only ${title}`, () => { view.place = row[PLACE]; choose(); }),
        button("Previous", "Previous row", () => move(-1)), button("Next", "Next row", () => move(1)),
        button("Close", "Close the details", close)));
      details.hidden = false;
      later();
    }
    function close() { details.hidden = true; chosen = -1; list.focus(); later(); }
    function move(by) {
      const at = clamp(chosen < 0 ? 0 : chosen + by, 0, shown.length - 1);
      const [tall, over] = [height(), head.offsetHeight];
      const top = at * tall;
      if (top < list.scrollTop) list.scrollTop = top;
      if (top + tall + over > list.scrollTop + list.clientHeight) list.scrollTop = top + tall + over - list.clientHeight;
      if (details.hidden) { chosen = at; later(); } else open(at);
      list.setAttribute("aria-activedescendant", `${id}-${at}`);
    }
    list.addEventListener("keydown", (event) => {
      const keys = { ArrowDown: () => move(1), ArrowUp: () => move(-1), PageDown: () => move(20), PageUp: () => move(-20),
        Home: () => move(-shown.length), End: () => move(shown.length), Enter: () => open(Math.max(chosen, 0)), Escape: close,
        ArrowLeft: () => pan(-0.1), ArrowRight: () => pan(0.1), "+": () => zoom(0.5), "-": () => zoom(2), 0: () => show(0, wall) };
      if (event.target !== list || event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
    list.addEventListener("scroll", later, { passive: true });

    // Fingers and mouse: one pans, two zoom; in the overview one chooses the middle.
    const part = (event, of) => { const box = of.getBoundingClientRect(); return clamp((event.clientX - box.left) / box.width, 0, 1); };
    const fingers = new Map();
    body.addEventListener("pointerdown", (event) => {
      if (event.target.closest(".when")) fingers.set(event.pointerId, event.clientX);
    });
    body.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined) return;
      if (event.pointerType === "mouse" && event.buttons === 0) { fingers.delete(event.pointerId); return; }
      const width = axis.getBoundingClientRect().width || 1;
      const others = [...fingers].filter(([finger]) => finger !== event.pointerId);
      if (others.length === 1) {
        const other = others[0][1];
        const wide = Math.max(Math.abs(event.clientX - other), 20);
        zoom(Math.max(Math.abs(before - other), 20) / wide, part({ clientX: (event.clientX + other) / 2 }, axis));
      } else if (Math.abs(event.clientX - before) > 0) {
        pan((before - event.clientX) / width);
      }
      fingers.set(event.pointerId, event.clientX);
    });
    for (const end of ["pointerup", "pointercancel", "pointerleave"]) body.addEventListener(end, (event) => fingers.delete(event.pointerId));
    list.addEventListener("wheel", (event) => {
      if (event.ctrlKey) { event.preventDefault(); zoom(event.deltaY > 0 ? 1.25 : 0.8, part(event, axis)); }
      else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) { event.preventDefault(); pan((event.deltaX || event.deltaY) / 1000); }
    }, { passive: false });
    const middle = (event) => { const half = (view.to - view.from) / 2; const at = part(event, overview) * wall; show(at - half, at + half); };
    overview.addEventListener("pointerdown", (event) => { overview.setPointerCapture(event.pointerId); middle(event); });
    overview.addEventListener("pointermove", (event) => { if (event.buttons) middle(event); });

    place.append(make("h2", {}, data.title), bar, legend, overview, list, details);
    place.hidden = false;
    new ResizeObserver(() => { draw(); grow(); for (const made of pool) made.row = null; later(); }).observe(overview);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    document.addEventListener("theme", draw);
    choose();
    place.explorer = { show, render, wall, list };
  }

  // Each when it comes near: a page may have sixty.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      const block = document.getElementById(target.id.replace("explore", "data"));
      explore(target, JSON.parse(block.textContent));
    }
  }, { rootMargin: "600px" });
  for (const place of document.querySelectorAll(".explore")) { place.hidden = false; near.observe(place); }

  const root = document.documentElement;
  const dark = () => (root.dataset.theme ?? (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const theme = make("button", { type: "button", class: "theme", onclick: () => {
    root.dataset.theme = dark() ? "light" : "dark";
    theme.textContent = dark() ? "Light" : "Dark";
    document.dispatchEvent(new Event("theme"));
  } }, dark() ? "Light" : "Dark");
  document.querySelector("main").prepend(theme);
})();
