// Keys, and the first grid.

const keys = {
  ArrowLeft: () => step(0, -1), ArrowRight: () => step(0, 1), ArrowUp: () => step(-1, 0), ArrowDown: () => step(1, 0),
  Home: () => step(0, -Infinity), End: () => step(0, Infinity),
  " ": () => toggle("time"), t: () => toggle("time"), v: () => toggle("view"), d: () => toggle("diagonal"),
  b: () => toggle("bullet"), g: () => toggle("drawn"), w: () => setMode("draw"), e: () => $("epipolar").click(),
  k: () => toggleKept({ grid: state.grid, panel: state.planePanel }),
  m: () => showAs({ frames: "difference", difference: "flicker", flicker: "frames" }[state.shown]),
  s: () => { if (!$("tabs").hidden) openTab(state.tab === "splats" ? "frames" : "splats"); },
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
$("pixels").addEventListener("click", () => {
  $("pixels").setAttribute("aria-pressed", String(document.body.classList.toggle("pixels")));
});

let resized;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(() => { buildPlane(); if (state.tab === "splats") requestDraw(); }, 120);
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", buildPlane);

buildList();
open(0);
