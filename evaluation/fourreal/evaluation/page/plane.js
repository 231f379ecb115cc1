// The view-time plane: a thumbnail a frame, a strip that says given or generated, a ring at the frame that is shown,
// the drawn path, and the epipolar lines of a marked point.

const plane = $("plane");
const thumbs = document.createElement("canvas"); // the plane without what moves on it
let cell = { width: 1, height: 1, gap: 1 };
let planeRequest = 0;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// A narrow cell shows the frame's middle: the share of the frame's width that fits.
const visiblePart = (panel) => Math.min(1, (panel.height * (cell.width - cell.gap)) / (panel.width * (cell.height - cell.gap)));

function sizePlane(panel) {
  const { views, times } = grid();
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
}

function markPlanePanel() {
  const many = stage.length > 1;
  stage.forEach(({ label: button, place }) => {
    const here = place.grid === state.grid && place.panel === state.planePanel;
    button.setAttribute("aria-pressed", String(many && here));
  });
}

async function buildPlane() {
  const mine = ++planeRequest;
  const { panels } = grid();
  const panel = panels[state.planePanel];
  const ratio = window.devicePixelRatio || 1;
  sizePlane(panel);
  markPlanePanel();
  $("legend").hidden = panel.given === null;
  $("plane-of").textContent = panels.length > 1 ? `thumbnails: ${panel.label}` : "";
  const context = thumbs.getContext("2d");
  const strip = Math.max(2 * ratio, Math.min(4 * ratio, cell.height / 10));
  const [w, h] = [cell.width - cell.gap, cell.height - cell.gap];
  const order = [];
  for (let v = 0; v < panel.views; v++) for (let t = 0; t < panel.times; t++) order.push([v, t, t * cell.width, v * cell.height]);
  const mark = (v, t, x, y) => {
    if (panel.given === null) return;
    context.fillStyle = color(isGiven(panel, v, t) ? "given" : "generated");
    context.fillRect(x, y + h - strip, w, strip);
  };
  for (const [v, t, x, y] of order) {
    context.fillStyle = color("frame");
    context.fillRect(x, y, w, h);
    mark(v, t, x, y);
  }
  drawRing();
  const images = order.map(([v, t]) => bitmap(state.grid, state.planePanel, v * panel.times + t));
  for (const [n, [v, t, x, y]] of order.entries()) {
    const image = await images[n];
    if (mine !== planeRequest) return;
    const part = visiblePart(panel);
    context.drawImage(image, (image.width * (1 - part)) / 2, 0, image.width * part, image.height, x, y, w, h);
    mark(v, t, x, y);
    if (n % 8 === 7 || n === order.length - 1) drawRing();
  }
  prefetch(mine);
}

// The other panels' frames too, as far as they fit, so that moving never waits.
async function prefetch(mine) {
  for (const { place } of stage) {
    const { views, times } = panelAt(place);
    for (let frame = 0; frame < views * times; frame++) {
      if (mine !== planeRequest || cachedBytes > CACHE_BYTES / 2) return;
      await bitmap(place.grid, place.panel, frame);
    }
  }
}

function drawRing() {
  const context = plane.getContext("2d");
  context.clearRect(0, 0, plane.width, plane.height);
  context.drawImage(thumbs, 0, 0);
  const ratio = window.devicePixelRatio || 1;
  drawPlaneLines(context, ratio);
  drawPath(context, ratio);
  const box = [state.time * cell.width, state.view * cell.height, cell.width - cell.gap, cell.height - cell.gap];
  const inset = (by) => [box[0] + by, box[1] + by, Math.max(1, box[2] - 2 * by), Math.max(1, box[3] - 2 * by)];
  context.lineWidth = 4 * ratio;
  context.strokeStyle = color("panel");
  context.strokeRect(...inset(2 * ratio));
  context.lineWidth = 2.5 * ratio;
  context.strokeStyle = color("accent");
  context.strokeRect(...inset(1.25 * ratio));
}

function drawPath(context, ratio) {
  if (!state.path.length) return;
  context.lineWidth = 3 * ratio;
  context.lineJoin = context.lineCap = "round";
  context.strokeStyle = color("path");
  context.beginPath();
  for (const [v, t] of state.path) {
    context.lineTo((t + 0.5) * cell.width - cell.gap / 2, (v + 0.5) * cell.height - cell.gap / 2);
  }
  context.stroke();
}

// A path is drawn cell by cell; where the pointer jumped, over the cells between.
function drawTo(view, time) {
  const last = state.path.at(-1);
  if (!last) state.path.push([view, time]);
  else {
    const far = Math.max(Math.abs(view - last[0]), Math.abs(time - last[1]));
    for (let i = 1; i <= far; i++) {
      state.path.push([last[0] + Math.round((i * (view - last[0])) / far), last[1] + Math.round((i * (time - last[1])) / far)]);
    }
  }
  show(view, time);
}

function setMode(mode) {
  state.mode = state.mode === mode ? "move" : mode;
  for (const name of ["draw", "epipolar"]) $(name).setAttribute("aria-pressed", String(state.mode === name));
  document.body.dataset.mode = state.mode;
  if (mode === "epipolar" && state.mode !== "epipolar") forgetPoint();
  $("hint").textContent = {
    move: "", draw: "Draw a path on the plane below; it plays when you let go.",
    epipolar: "Click a point in a frame: its epipolar lines appear in the other views.",
  }[state.mode];
}

plane.addEventListener("pointerdown", () => { if (state.mode === "draw") { play(null); state.path = []; } });
scrub(plane, () => state.mode !== "draw", (view, time, event) => { if (event.buttons) drawTo(view, time); });
plane.addEventListener("pointerup", () => {
  if (state.mode !== "draw" || !state.path.length) return;
  setMode("draw");
  $("play-drawn").disabled = false;
  if (state.path.length > 1) play("drawn");
});
$("draw").addEventListener("click", () => setMode("draw"));
