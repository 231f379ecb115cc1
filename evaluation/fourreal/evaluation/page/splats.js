// The tab of splats: the scene of `fourreal reconstruct` from the grid's cameras, or from where the person turns it.

const BLUR = 0.3; // square pixels of the fitted frames
const NEAREST_POLE = 0.97; // of the sine of the elevation: an orbit stops short of straight above and below

const splatCanvas = $("splats");
let renderer = null; // made when the tab is first opened
let scene = null; // {grid, sequence, time, means}
let camera = null; // {pose, target, view}
let drawRequest = 0;
const fingers = new Map(); // pointerId -> [x, y]

function openTab(name) {
  state.tab = name;
  for (const tab of ["frames", "splats"]) $(`tab-${tab}`).setAttribute("aria-selected", String(tab === name));
  $("stage").hidden = name !== "frames";
  $("splat-stage").hidden = name !== "splats";
  document.body.dataset.tab = name;
  show(state.view, state.time);
}

// Called when a grid is opened: the tab is there for grids that have a scene.
function offerSplats() {
  const there = $(`splats-${state.grid}`) !== null;
  $("tabs").hidden = !there;
  scene = null;
  if (!there && state.tab === "splats") openTab("frames");
}

function loadScene() {
  const sequence = readSafetensors(bytesOf($(`splats-${state.grid}`).textContent.trim()));
  scene = { grid: state.grid, sequence, time: -1, means: null };
  camera = null;
  const [rows, columns] = sequence.facts.environment;
  renderer.setSky(sequence.tensors.environment, rows, columns);
  $("splat-facts").textContent = `${sequence.facts.count.toLocaleString("en")} Gaussians`;
}

function showSplatsOf(view, time) {
  try {
    renderer ??= new SplatRenderer(splatCanvas);
  } catch (problem) {
    $("splat-facts").textContent = `Splats cannot be drawn: ${problem.message}.`;
    return;
  }
  if (scene?.grid !== state.grid) loadScene();
  const { poses, target } = scene.sequence.facts;
  if (!camera || camera.view !== view) camera = { view, target: [...target], pose: poses[Math.min(view, poses.length - 1)].map((row) => [...row]) };
  if (scene.time !== time) {
    const { means, data } = unpackTime(scene.sequence, Math.min(time, scene.sequence.facts.times - 1));
    Object.assign(scene, { time, means });
    renderer.setGaussians(data);
  }
  requestDraw();
}

function requestDraw() {
  cancelAnimationFrame(drawRequest);
  drawRequest = requestAnimationFrame(() => {
    if (!scene) return; // left since it was asked for
    const { width, height, intrinsics } = scene.sequence.facts;
    splatCanvas.closest("figure").style.setProperty("--aspect", width / height);
    const shown = splatCanvas.clientWidth * Math.min(window.devicePixelRatio || 1, 2);
    const scale = Math.max(1, Math.round(shown)) / width;
    splatCanvas.width = Math.round(width * scale);
    splatCanvas.height = Math.round(height * scale);
    const k = intrinsics[Math.min(camera.view, intrinsics.length - 1)];
    const lens = [k[0][0], k[1][1], k[0][2], k[1][2]].map((value) => value * scale);
    renderer.draw(backToFront(scene.means, camera.pose), camera.pose, lens, BLUR * scale * scale);
    splatCanvas.dataset.drawn = `${state.grid} ${camera.view} ${scene.time} ${camera.pose.flat().map((x) => x.toFixed(3))}`;
  });
}

// --- Orbit: the camera turns round the target, up staying up ------------------------------------------------------

function turnedBy(axis, angle) {
  const [x, y, z] = axis;
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const k = [[0, -z, y], [z, 0, -x], [-y, x, 0]];
  const kk = product(k, k);
  return k.map((row, i) => row.map((value, j) => (i === j ? 1 : 0) + s * value + (1 - c) * kk[i][j]));
}

const centreOf = (pose) => applied(transposed(rotationOf(pose)), shiftOf(pose)).map((value) => -value);

function placeCamera(rotation, centre) {
  const shift = applied(rotation, centre).map((value) => -value);
  camera.pose = [...rotation.map((row, i) => [...row, shift[i]]), [0, 0, 0, 1]];
  requestDraw();
}

function turn(dx, dy) {
  const { up } = scene.sequence.facts;
  const rotation = rotationOf(camera.pose);
  const rise = -rotation[2].reduce((sum, value, i) => sum + value * up[i], 0); // sine of the elevation
  const tilt = (rise > NEAREST_POLE && dy > 0) || (rise < -NEAREST_POLE && dy < 0) ? 0 : dy;
  const about = product(turnedBy(up, -dx), turnedBy(rotation[0], -tilt));
  const arm = centreOf(camera.pose).map((value, i) => value - camera.target[i]);
  const centre = applied(about, arm).map((value, i) => value + camera.target[i]);
  placeCamera(product(rotation, transposed(about)), centre);
}

function zoom(factor) {
  const centre = centreOf(camera.pose).map((value, i) => camera.target[i] + (value - camera.target[i]) * factor);
  placeCamera(rotationOf(camera.pose), centre);
}

function pan(dx, dy) { // in heights of the canvas
  const rotation = rotationOf(camera.pose);
  const centre = centreOf(camera.pose);
  const far = Math.hypot(...centre.map((value, i) => value - camera.target[i]));
  const by = rotation[0].map((right, i) => -far * (dx * right + dy * rotation[1][i]));
  camera.target = camera.target.map((value, i) => value + by[i]);
  placeCamera(rotation, centre.map((value, i) => value + by[i]));
}

function moveFinger(event) {
  const before = fingers.get(event.pointerId);
  if (!before || !scene) return;
  const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  const height = splatCanvas.clientHeight;
  const [dx, dy] = [(event.clientX - before[0]) / height, (event.clientY - before[1]) / height];
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
  if (others.length) {
    const apart = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]);
    zoom(apart(before) / Math.max(1, apart([event.clientX, event.clientY])));
    pan(dx / 2, dy / 2);
  } else if (event.shiftKey || event.buttons & 2) pan(dx, dy);
  else turn(3 * dx, 3 * dy);
}

splatCanvas.addEventListener("pointerdown", (event) => {
  play(null);
  splatCanvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, [event.clientX, event.clientY]);
});
splatCanvas.addEventListener("pointermove", moveFinger);
for (const name of ["pointerup", "pointercancel"]) splatCanvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
splatCanvas.addEventListener("contextmenu", (event) => event.preventDefault());
splatCanvas.addEventListener("wheel", (event) => { event.preventDefault(); if (scene) zoom(Math.exp(event.deltaY / 800)); }, { passive: false });
$("splat-home").addEventListener("click", () => { camera = null; show(state.view, state.time); });
for (const tab of ["frames", "splats"]) $(`tab-${tab}`).addEventListener("click", () => openTab(tab));
