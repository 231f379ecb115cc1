// A person moves through the views and times of one grid, shown in several panels in step. Nothing is fetched; all
// text goes in as text, never as markup. These files are joined in one strict function, in the order of view_page.py.

const $ = (id) => document.getElementById(id);
const library = JSON.parse($("index").textContent);

const state = {
  grid: -1, view: 0, time: 0,
  tab: "frames", // or "splats"
  shown: "frames", // or a name in `maps`
  mode: "move", // or "draw", "epipolar": what the pointer does
  planePanel: 0, // whose thumbnails the plane shows
  kept: [], // places {grid, panel} that stay on the stage beside other grids
  path: [], // the drawn [view, time]
  point: null, // the marked {view, x, y}, x and y from 0 to 1
  playing: null,
};
