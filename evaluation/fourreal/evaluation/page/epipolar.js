// Epipolar lines of a clicked point: where the cameras say that it lies in the other views.

const product = (a, b) => a.map((row) => b[0].map((_, j) => row.reduce((sum, value, k) => sum + value * b[k][j], 0)));
const transposed = (a) => a[0].map((_, j) => a.map((row) => row[j]));
const applied = (a, x) => a.map((row) => row.reduce((sum, value, k) => sum + value * x[k], 0));
const rotationOf = (pose) => pose.slice(0, 3).map((row) => row.slice(0, 3));
const shiftOf = (pose) => pose.slice(0, 3).map((row) => row[3]);

function inverted([[a, b, c], [d, e, f], [g, h, i]]) {
  const [p, q, r] = [e * i - f * h, f * g - d * i, d * h - e * g];
  const determinant = a * p + b * q + c * r;
  return [[p, c * h - b * i, b * f - c * e], [q, a * i - c * g, c * d - a * f], [r, b * g - a * h, a * e - b * d]]
    .map((row) => row.map((value) => value / determinant));
}

// F with x'^T F x = 0 (Hartley and Zisserman, equation 9.2), from intrinsics and world-to-camera of both views.
function fundamental({ intrinsics, poses }, from, to) {
  const turn = product(rotationOf(poses[to]), transposed(rotationOf(poses[from])));
  const moved = applied(turn, shiftOf(poses[from]));
  const [x, y, z] = shiftOf(poses[to]).map((value, i) => value - moved[i]);
  const cross = [[0, -z, y], [z, 0, -x], [-y, x, 0]];
  return product(product(transposed(inverted(intrinsics[to])), product(cross, turn)), inverted(intrinsics[from]));
}

// The piece of a line a x + b y + c = 0 within an image, as [x1, y1, x2, y2]; null where it passes by.
function clipped([a, b, c], width, height) {
  const ends = [];
  const add = (x, y) => {
    const inside = x >= -1e-6 && x <= width + 1e-6 && y >= -1e-6 && y <= height + 1e-6;
    if (inside && ends.every(([u, v]) => Math.hypot(u - x, v - y) > 1e-3)) ends.push([x, y]);
  };
  for (const x of [0, width]) add(x, -(a * x + c) / b);
  for (const y of [0, height]) add(-(b * y + c) / a, y);
  return ends.length < 2 ? null : [...ends[0], ...ends[1]];
}

// The marked point as seen in a view of a panel: {dot: [x, y]} in its own view, {line} in others, {} where there is none.
function markIn(panel, view) {
  const { point } = state;
  if (!point || !panel.cameras || view >= panel.views || point.view >= panel.views) return {};
  const at = [point.x * panel.width, point.y * panel.height];
  if (view === point.view) return { dot: at };
  return { line: clipped(applied(fundamental(panel.cameras, point.view, view), [...at, 1]), panel.width, panel.height) };
}

function markPoint(canvas, panel, event) {
  if (!panel.cameras) return;
  const box = canvas.getBoundingClientRect();
  state.point = { view: state.view, x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  drawEpipolar();
  drawRing();
}

function forgetPoint() {
  state.point = null;
  drawEpipolar();
  drawRing();
}

function drawEpipolar() {
  for (const { overlay, place } of stage) {
    const { dot, line } = markIn(panelAt(place), state.view);
    overlay.replaceChildren();
    if (dot) overlay.append(vector("circle", { cx: dot[0], cy: dot[1], r: panelAt(place).height / 40 }));
    if (line) overlay.append(vector("line", { x1: line[0], y1: line[1], x2: line[2], y2: line[3] }));
  }
}

// The same in the thumbnails of the time that is shown.
function drawPlaneLines(context, ratio) {
  const panel = grid().panels[state.planePanel];
  if (!state.point) return;
  const scale = (cell.height - cell.gap) / panel.height;
  const left = (panel.width * (1 - visiblePart(panel))) / 2;
  context.strokeStyle = context.fillStyle = color("path");
  context.lineWidth = 1.5 * ratio;
  for (let v = 0; v < panel.views; v++) {
    const { dot, line } = markIn(panel, v);
    context.save();
    context.beginPath();
    context.rect(state.time * cell.width, v * cell.height, cell.width - cell.gap, cell.height - cell.gap);
    context.clip();
    context.translate(state.time * cell.width - left * scale, v * cell.height);
    context.beginPath();
    if (dot) context.arc(dot[0] * scale, dot[1] * scale, 3 * ratio, 0, 2 * Math.PI);
    if (dot) context.fill();
    if (line) context.moveTo(line[0] * scale, line[1] * scale);
    if (line) context.lineTo(line[2] * scale, line[3] * scale);
    if (line) context.stroke();
    context.restore();
  }
}

$("epipolar").addEventListener("click", () => setMode("epipolar"));
