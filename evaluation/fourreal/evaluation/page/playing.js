// Moving and playing: the pointer, the sliders, and routes of [view, time] that are played round and round.

const FPS_WHEN_UNKNOWN = 8;

// Moves with the pointer while `moves()`, else hands (view, time, event) to `otherwise`.
function scrub(canvas, moves, otherwise = () => {}) {
  const move = (event) => {
    const { views, times } = grid();
    const box = canvas.getBoundingClientRect();
    const at = (offset, length, count) => Math.min(count - 1, Math.max(0, Math.floor((offset / length) * count)));
    const view = at(event.clientY - box.top, box.height, views);
    const time = at(event.clientX - box.left, box.width, times);
    if (!moves()) return otherwise(view, time, event);
    if (state.playing && event.type === "pointermove" && !event.buttons) return; // hovering does not disturb playing
    if (event.type === "pointerdown") play(null);
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

const upTo = (count) => Array.from({ length: count }, (_, i) => i);
const thereAndBack = (count) => [...upTo(count), ...upTo(count).slice(1, -1).reverse()];

// Time runs round; the camera goes back and forth, as it would if held by hand.
const routes = {
  time: ({ times }) => upTo(times).map((t) => [state.view, t]),
  view: ({ views }) => thereAndBack(views).map((v) => [v, state.time]),
  diagonal: ({ views, times }) => {
    const span = Math.max(views, times);
    const along = (i, count) => (span < 2 ? 0 : Math.round((i * (count - 1)) / (span - 1)));
    return thereAndBack(span).map((i) => [along(i, views), along(i, times)]);
  },
  bullet: ({ views, times }) => { // time stops in the middle, the camera goes round, time runs on
    const middle = Math.floor(times / 2);
    const round = [...upTo(views).slice(state.view + 1), ...upTo(views - 1).reverse(), ...upTo(views).slice(1, state.view + 1)];
    return [
      ...upTo(middle + 1).map((t) => [state.view, t]), ...round.map((v) => [v, middle]),
      ...upTo(times).slice(middle + 1).map((t) => [state.view, t]),
    ];
  },
  drawn: () => state.path,
};

function play(name) {
  cancelAnimationFrame(state.playing?.timer);
  state.playing = null;
  for (const button of document.querySelectorAll("[data-play]")) {
    button.setAttribute("aria-pressed", String(button.dataset.play === name));
  }
  const route = name ? routes[name](grid()) : [];
  if (!route.length) return;
  const far = ([v, t]) => Math.abs(v - state.view) + Math.abs(t - state.time);
  const nearest = route.reduce((best, at, i) => (far(at) < far(route[best]) ? i : best), 0);
  state.playing = { name, route, step: name === "drawn" ? -1 : nearest, last: performance.now() };
  state.playing.timer = requestAnimationFrame(tick);
}

async function tick(now) {
  const playing = state.playing;
  const interval = 1000 / ((grid().fps || FPS_WHEN_UNKNOWN) * Number($("speed").value));
  if (now - playing.last >= interval) {
    playing.last = now - playing.last > 2 * interval ? now : playing.last + interval;
    playing.step = (playing.step + 1) % playing.route.length;
    await show(...playing.route[playing.step]);
  }
  if (state.playing === playing) playing.timer = requestAnimationFrame(tick);
}

const toggle = (name) => play(state.playing?.name === name ? null : name);

function step(dv, dt) {
  play(null);
  show(state.view + dv, state.time + dt);
}

for (const button of document.querySelectorAll("[data-play]")) {
  button.addEventListener("click", () => toggle(button.dataset.play));
}
$("time").addEventListener("input", (event) => { play(null); show(state.view, Number(event.target.value)); });
$("view").addEventListener("input", (event) => { play(null); show(Number(event.target.value), state.time); });
