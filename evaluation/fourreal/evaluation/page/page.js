// A person moves through the views and times of one grid, shown in several panels in step.
// Frames lie in inert script blocks as base64 JPEG, one a line, in the order of [view, time]; each is decoded when
// it is first needed. Nothing is fetched; all text goes in as text, never as markup.
(() => {
  "use strict";

  const $ = (id) => document.getElementById(id);
  const library = JSON.parse($("index").textContent);
  const FPS_WHEN_UNKNOWN = 8;
  const CACHE_BYTES = 384 * 2 ** 20;

  const state = { grid: -1, view: 0, time: 0, planePanel: 0, playing: null };

  // --- Frames: decoded once, the least recently shown are let go ---------------------------------------------------

  const lines = new Map(); // "grid-panel" -> base64 of each frame; of the current grid only
  const bitmaps = new Map(); // "grid-panel-frame" -> promise of an ImageBitmap, oldest use first
  let cachedBytes = 0;

  function base64Of(grid, panel, frame) {
    const id = `${grid}-${panel}`;
    if (!lines.has(id)) {
      lines.set(id, $(`frames-${id}`).textContent.trim().split("\n"));
    }
    return lines.get(id)[frame];
  }

  function decode(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));
  }

  function bitmap(grid, panel, frame) {
    const id = `${grid}-${panel}-${frame}`;
    let entry = bitmaps.get(id);
    if (entry) {
      bitmaps.delete(id); // put back below, as the most recent
    } else {
      const { width, height } = library.grids[grid].panels[panel];
      entry = { image: decode(base64Of(grid, panel, frame)), bytes: width * height * 4 };
      cachedBytes += entry.bytes;
    }
    bitmaps.set(id, entry);
    for (const [old, { image, bytes }] of bitmaps) {
      if (cachedBytes <= CACHE_BYTES || old === id) break;
      bitmaps.delete(old);
      cachedBytes -= bytes;
      image.then((b) => b.close());
    }
    return entry.image;
  }

  // --- The stage: one canvas a panel, all changed in the same animation frame --------------------------------------

  const grid = () => library.grids[state.grid];
  const hasFrame = (panel, v, t) => v < panel.views && t < panel.times;
  const isGiven = (panel, v, t) => panel.given !== null && panel.given.some(([a, b]) => a === v && b === t);

  let stage = []; // {canvas, context, kind} of each panel
  let request = 0;

  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "class") node.className = value;
      else node.setAttribute(name, value);
    }
    node.append(...children);
    return node;
  }

  function buildStage() {
    stage = grid().panels.map((panel, p) => {
      const canvas = element("canvas", { width: panel.width, height: panel.height, "data-panel": p });
      const label = element("button", { type: "button", title: "Show this one in the plane" }, panel.label);
      label.addEventListener("click", () => { state.planePanel = p; buildPlane(); });
      const kind = element("span", { class: "kind" });
      const size = element("span", { class: "size" }, `${panel.width}×${panel.height}`);
      const figure = element("figure", {}, canvas, element("figcaption", {}, label, size, kind));
      figure.style.setProperty("--aspect", panel.width / panel.height);
      scrub(canvas);
      return { figure, canvas, context: canvas.getContext("2d"), kind, label };
    });
    $("stage").replaceChildren(...stage.map((s) => s.figure));
  }

  async function show(view, time) {
    const { views, times, panels } = grid();
    state.view = Math.min(Math.max(view, 0), views - 1);
    state.time = Math.min(Math.max(time, 0), times - 1);
    const [v, t, g, mine] = [state.view, state.time, state.grid, ++request];
    placeControls();
    drawRing();
    const images = await Promise.all(
      panels.map((panel, p) => (hasFrame(panel, v, t) ? bitmap(g, p, v * panel.times + t) : null)));
    if (mine !== request) return; // the person has moved on
    stage.forEach(({ canvas, context, kind }, p) => {
      if (images[p]) context.drawImage(images[p], 0, 0);
      else context.clearRect(0, 0, canvas.width, canvas.height);
      const name = !images[p] ? "no such frame" : panels[p].given === null ? "" : isGiven(panels[p], v, t) ? "given" : "generated";
      kind.textContent = name;
      kind.className = `kind ${name.replaceAll(" ", "-")}`;
    });
    Object.assign(document.body.dataset, { grid: grid().key, view: v, time: t });
  }

  // --- The view-time plane: a thumbnail a frame, a strip that says given or generated -----------------------------

  const plane = $("plane");
  const thumbs = document.createElement("canvas"); // the plane without the ring
  let cell = { width: 1, height: 1, gap: 1 };
  let planeRequest = 0;

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  async function buildPlane() {
    const mine = ++planeRequest;
    const { views, times, panels } = grid();
    const panel = panels[state.planePanel];
    const ratio = window.devicePixelRatio || 1;
    const room = plane.parentElement.clientWidth - 22;
    const gap = times > 24 ? 1 : 3;
    const widest = Math.min(room / times - gap, 96);
    const width = Math.max(2, Math.min(widest, ((0.44 * window.innerHeight) / views - gap) * (panel.width / panel.height)));
    const height = Math.max((width * panel.height) / panel.width, 14);
    cell = { width: (width + gap) * ratio, height: (height + gap) * ratio, gap: gap * ratio };
    for (const canvas of [plane, thumbs]) {
      canvas.width = Math.round(cell.width * times);
      canvas.height = Math.round(cell.height * views);
    }
    plane.style.width = `${plane.width / ratio}px`;
    stage.forEach(({ label }, p) => label.setAttribute("aria-pressed", String(stage.length > 1 && p === state.planePanel)));
    $("legend").hidden = panel.given === null;
    $("plane-of").textContent = panels.length > 1 ? `thumbnails: ${panel.label}` : "";
    const context = thumbs.getContext("2d");
    const strip = Math.max(2 * ratio, Math.min(4 * ratio, cell.height / 10));
    const eachCell = (paint) => {
      for (let v = 0; v < panel.views; v++) {
        for (let t = 0; t < panel.times; t++) {
          paint(v, t, t * cell.width, v * cell.height, cell.width - cell.gap, cell.height - cell.gap);
        }
      }
    };
    const mark = (v, t, x, y, w, h) => {
      if (panel.given === null) return;
      context.fillStyle = color(isGiven(panel, v, t) ? "given" : "generated");
      context.fillRect(x, y + h - strip, w, strip);
    };
    eachCell((v, t, x, y, w, h) => {
      context.fillStyle = color("frame");
      context.fillRect(x, y, w, h);
      mark(v, t, x, y, w, h);
    });
    drawRing();
    const order = [];
    eachCell((...at) => order.push(at));
    const images = order.map(([v, t]) => bitmap(state.grid, state.planePanel, v * panel.times + t));
    for (const [n, [v, t, x, y, w, h]] of order.entries()) {
      const image = await images[n];
      if (mine !== planeRequest) return;
      const part = Math.min(1, (image.height * w) / (image.width * h)); // a narrow cell shows the frame's middle
      context.drawImage(image, (image.width * (1 - part)) / 2, 0, image.width * part, image.height, x, y, w, h);
      mark(v, t, x, y, w, h);
      if (n % 8 === 7 || n === order.length - 1) drawRing();
    }
    prefetch(mine);
  }

  // The other panels' frames too, as far as they fit, so that moving never waits.
  async function prefetch(mine) {
    for (const [p, panel] of grid().panels.entries()) {
      for (let frame = 0; frame < panel.views * panel.times; frame++) {
        if (mine !== planeRequest || cachedBytes > CACHE_BYTES / 2) return;
        await bitmap(state.grid, p, frame);
      }
    }
  }

  function drawRing() {
    const context = plane.getContext("2d");
    context.clearRect(0, 0, plane.width, plane.height);
    context.drawImage(thumbs, 0, 0);
    const ratio = window.devicePixelRatio || 1;
    const box = [state.time * cell.width, state.view * cell.height, cell.width - cell.gap, cell.height - cell.gap];
    const inset = (by) => [box[0] + by, box[1] + by, Math.max(1, box[2] - 2 * by), Math.max(1, box[3] - 2 * by)];
    context.lineWidth = 4 * ratio;
    context.strokeStyle = color("panel");
    context.strokeRect(...inset(2 * ratio));
    context.lineWidth = 2.5 * ratio;
    context.strokeStyle = color("accent");
    context.strokeRect(...inset(1.25 * ratio));
  }

  // --- Moving: pointer, sliders, keys, playing --------------------------------------------------------------------

  function scrub(canvas) {
    const move = (event) => {
      if (state.playing && event.type === "pointermove" && !event.buttons) return; // hovering does not disturb playing
      if (event.type === "pointerdown") play(null);
      const box = canvas.getBoundingClientRect();
      const { views, times } = grid();
      const at = (offset, length, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / length) * count)));
      const view = at(event.clientY - box.top, box.height, views);
      const time = at(event.clientX - box.left, box.width, times);
      if (view !== state.view || time !== state.time) show(view, time);
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); move(event); });
  }

  function placeControls() {
    const { views, times } = grid();
    for (const [name, value, count] of [["view", state.view, views], ["time", state.time, times]]) {
      $(name).max = count - 1;
      $(name).value = value;
      $(`${name}-now`).textContent = `${value} / ${count - 1}`;
    }
  }

  // Time runs round; the camera goes back and forth, as it would if held by hand.
  const bounce = (n, count) => (count < 2 ? 0 : count - 1 - Math.abs((n % (2 * count - 2)) - (count - 1)));

  function play(axis) {
    cancelAnimationFrame(state.playing?.timer);
    state.playing = axis ? { axis, step: axis === "view" ? state.view : state.time, last: performance.now() } : null;
    for (const button of document.querySelectorAll("[data-play]")) {
      button.setAttribute("aria-pressed", String(button.dataset.play === axis));
    }
    if (axis) state.playing.timer = requestAnimationFrame(tick);
  }

  async function tick(now) {
    const playing = state.playing;
    const interval = 1000 / ((grid().fps || FPS_WHEN_UNKNOWN) * Number($("speed").value));
    if (now - playing.last >= interval) {
      playing.last = now - playing.last > 2 * interval ? now : playing.last + interval;
      playing.step += 1;
      const { views, times } = grid();
      const span = Math.max(views, times);
      const along = (count) => (span < 2 ? 0 : Math.round((bounce(playing.step, span) * (count - 1)) / (span - 1)));
      if (playing.axis === "time") await show(state.view, playing.step % times);
      else if (playing.axis === "view") await show(bounce(playing.step, views), state.time);
      else await show(along(views), along(times));
    }
    if (state.playing === playing) playing.timer = requestAnimationFrame(tick);
  }

  const toggle = (axis) => play(state.playing?.axis === axis ? null : axis);

  function step(dv, dt) {
    play(null);
    show(state.view + dv, state.time + dt);
  }

  function neighbour(direction) {
    const shown = [...$("list").children].filter((item) => !item.hidden).map((item) => Number(item.dataset.grid));
    const next = shown[shown.indexOf(state.grid) + direction];
    if (next !== undefined) open(next);
  }

  const keys = {
    ArrowLeft: () => step(0, -1), ArrowRight: () => step(0, 1), ArrowUp: () => step(-1, 0), ArrowDown: () => step(1, 0),
    Home: () => step(0, -Infinity), End: () => step(0, Infinity),
    " ": () => toggle("time"), t: () => toggle("time"), v: () => toggle("view"), d: () => toggle("diagonal"),
    n: () => neighbour(1), p: () => neighbour(-1), x: () => $("pixels").click(), "/": () => $("search").focus(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target === $("search")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (target.matches("select") || (target.matches("input") && event.key.startsWith("Arrow"))) return;
    if (target.matches("button, summary") && event.key === " ") return; // space presses what has the focus
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  for (const button of document.querySelectorAll("[data-play]")) {
    button.addEventListener("click", () => toggle(button.dataset.play));
  }
  $("time").addEventListener("input", (event) => { play(null); show(state.view, Number(event.target.value)); });
  $("view").addEventListener("input", (event) => { play(null); show(Number(event.target.value), state.time); });
  $("pixels").addEventListener("click", () => {
    $("pixels").setAttribute("aria-pressed", String(document.body.classList.toggle("pixels")));
  });
  scrub(plane);

  // --- What is known about the grid -------------------------------------------------------------------------------

  function definitions(entries) {
    const list = element("dl");
    for (const [name, value] of entries) {
      if (value === "" || value === null || value === undefined) continue;
      const text = typeof value === "object" ? JSON.stringify(value) : String(value);
      list.append(element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, text));
    }
    return list;
  }

  function describe() {
    const { key, views, times, fps, caption, licence, source, panels } = grid();
    $("name").textContent = key;
    $("caption").textContent = caption;
    $("licence").textContent = licence;
    const facts = [definitions([
      ["frames", `${views} views × ${times} times`], ["fps", fps || "unknown"], ["licence", licence || "unknown"], ["source", source],
    ])];
    for (const panel of panels.filter((p) => Object.keys(p.facts).length)) {
      const about = element("details", {}, element("summary", {}, panel.label));
      about.append(definitions(Object.entries(panel.facts)));
      facts.push(about);
    }
    $("facts").replaceChildren(...facts);
  }

  // --- The list of grids ------------------------------------------------------------------------------------------

  function open(index) {
    if (index === state.grid) return;
    lines.clear();
    state.grid = index;
    const given = grid().panels.findIndex((panel) => panel.given !== null);
    state.planePanel = Math.max(given, 0);
    for (const item of $("list").children) {
      const current = Number(item.dataset.grid) === index;
      item.firstChild.setAttribute("aria-current", String(current));
      if (current) item.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    describe();
    buildStage();
    buildPlane();
    show(state.view, state.time);
  }

  const thumbnails = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      thumbnails.unobserve(target);
      const { index } = target.dataset;
      const block = $(`frames-${index}-0`).textContent;
      decode(block.slice(0, block.indexOf("\n", 1)).trim()).then((image) => {
        target.width = image.width;
        target.height = image.height;
        target.getContext("2d").drawImage(image, 0, 0);
        image.close();
      });
    }
  });

  function buildList() {
    library.grids.forEach((entry, index) => {
      const picture = element("canvas", { "data-index": index });
      const detail = [`${entry.views}×${entry.times}`, entry.licence].filter(Boolean).join(" · ");
      const text = element("span", {}, element("strong", {}, entry.key), element("small", {}, detail));
      const button = element("button", { type: "button", title: entry.caption || entry.key }, picture, text);
      button.addEventListener("click", () => open(index));
      $("list").append(element("li", { "data-grid": index }, button));
      thumbnails.observe(picture);
    });
    $("search").addEventListener("input", filter);
    filter();
  }

  function filter() {
    const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const item of $("list").children) {
      const { key, caption, source, licence } = library.grids[Number(item.dataset.grid)];
      const text = [key, caption, source, licence].join(" ").toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
      shown += item.hidden ? 0 : 1;
    }
    const total = library.grids.length;
    $("count").textContent = shown === total ? `${total} grid${total === 1 ? "" : "s"}` : `${shown} of ${total} grids`;
  }

  let resized;
  window.addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(buildPlane, 120); });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", buildPlane);

  buildList();
  open(0);
})();
