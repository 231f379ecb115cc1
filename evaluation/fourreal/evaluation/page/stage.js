// The stage: one canvas a panel, all changed in the same animation frame. Kept panels of other grids stand first.

const grid = () => library.grids[state.grid];
const panelAt = ({ grid: g, panel }) => library.grids[g].panels[panel];
const isGiven = (panel, v, t) => panel.given !== null && panel.given.some(([a, b]) => a === v && b === t);
const samePlace = (a, b) => a.grid === b.grid && a.panel === b.panel;

let stage = []; // {place, figure, canvas, context, overlay, kind, label} of each panel; place: {grid, panel}
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

function vector(tag, attributes = {}) {
  const node = document.createElementNS(document.querySelector("svg").namespaceURI, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function buildStage() {
  const own = grid().panels.map((_, panel) => ({ grid: state.grid, panel }));
  const kept = state.kept.filter((place) => place.grid !== state.grid);
  stage = [...kept, ...own].map(buildFigure);
  $("stage").replaceChildren(...stage.map((s) => s.figure));
  $("epipolar").disabled = !stage.some((s) => panelAt(s.place).cameras);
}

function buildFigure(place) {
  const panel = panelAt(place);
  const mine = place.grid === state.grid;
  const canvas = element("canvas", { width: panel.width, height: panel.height });
  const overlay = vector("svg", { class: "overlay", viewBox: `0 0 ${panel.width} ${panel.height}`, "aria-hidden": "true" });
  const name = mine ? panel.label : `${library.grids[place.grid].key}: ${panel.label}`;
  const label = element("button", { type: "button", title: mine ? "Show this one in the plane" : "Open this grid" }, name);
  label.addEventListener("click", () => {
    if (!mine) return open(place.grid);
    state.planePanel = place.panel;
    buildPlane();
  });
  const kind = element("span", { class: "kind" });
  const size = element("span", { class: "size" }, `${panel.width}×${panel.height}`);
  const isKept = state.kept.some((k) => samePlace(k, place));
  const keep = element("button", { type: "button", class: "keep", "aria-pressed": isKept, title: "Keep on the stage beside other grids (k)" }, isKept ? "kept" : "keep");
  keep.addEventListener("click", () => toggleKept(place));
  const figure = element("figure", {}, element("div", { class: "picture" }, canvas, overlay),
    element("figcaption", {}, label, size, keep, kind));
  figure.style.setProperty("--aspect", panel.width / panel.height);
  canvas.addEventListener("pointerdown", (event) => { if (state.mode === "epipolar") markPoint(canvas, panel, event); });
  scrub(canvas, () => state.mode !== "epipolar");
  return { place, figure, canvas, context: canvas.getContext("2d"), overlay, kind, label };
}

function toggleKept(place) {
  const rest = state.kept.filter((kept) => !samePlace(kept, place));
  state.kept = rest.length < state.kept.length ? rest : [...state.kept, place];
  buildStage();
  markPlanePanel();
  show(state.view, state.time);
}

async function show(view, time) {
  const { views, times } = grid();
  state.view = Math.min(Math.max(view, 0), views - 1);
  state.time = Math.min(Math.max(time, 0), times - 1);
  const [v, t, shown, mine] = [state.view, state.time, state.shown, ++request];
  placeControls();
  drawRing();
  if (state.tab === "splats") showSplatsOf(v, t);
  const framesOf = ({ place }) => (shown === "frames" ? frameAt(place, v, t) : mapFrames(shown, place, v, t));
  const images = await Promise.all(stage.map(framesOf));
  if (mine !== request) return; // the person has moved on
  stage.forEach((entry, p) => {
    if (shown === "frames") paintFrame(entry, images[p], v, t);
    else tell(entry, paintMap(shown, images[p], entry.context), shown);
  });
  drawEpipolar();
  Object.assign(document.body.dataset, { grid: grid().key, view: v, time: t, shown });
}

function paintFrame(entry, image, v, t) {
  const { canvas, context, place } = entry;
  if (image) context.drawImage(image, 0, 0);
  else context.clearRect(0, 0, canvas.width, canvas.height);
  const panel = panelAt(place);
  const name = !image ? "no such frame" : panel.given === null ? "" : isGiven(panel, v, t) ? "given" : "generated";
  tell(entry, name, name.replaceAll(" ", "-"));
}

function tell({ kind }, text, name) {
  kind.textContent = text;
  kind.className = `kind ${name}`;
}
