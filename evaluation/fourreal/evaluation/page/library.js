// The list of grids, search in it, and what is known about the one that is open.

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
    ["frames", `${views} views × ${times} times`], ["fps", fps ? Number(fps.toFixed(2)) : "unknown"], ["licence", licence || "unknown"], ["source", source],
  ])];
  for (const panel of panels.filter((p) => Object.keys(p.facts).length)) {
    const about = element("details", {}, element("summary", {}, panel.label));
    about.append(definitions(Object.entries(panel.facts)));
    facts.push(about);
  }
  $("facts").replaceChildren(...facts);
}

function open(index) {
  if (index === state.grid) return;
  lines.clear();
  state.grid = index;
  state.point = null;
  state.path = [];
  $("play-drawn").disabled = true;
  if (state.playing) play(null);
  const given = grid().panels.findIndex((panel) => panel.given !== null);
  state.planePanel = Math.max(given, 0);
  for (const item of $("list").children) {
    const current = Number(item.dataset.grid) === index;
    item.firstChild.setAttribute("aria-current", String(current));
    if (current) item.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  describe();
  offerSplats();
  buildStage();
  buildPlane();
  show(state.view, state.time);
}

function neighbour(direction) {
  const shown = [...$("list").children].filter((item) => !item.hidden).map((item) => Number(item.dataset.grid));
  const next = shown[shown.indexOf(state.grid) + direction];
  if (next !== undefined) open(next);
}

// A picture is decoded when its place in the list comes into sight: 200 grids cost no more to open than ten.
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
      target.dataset.drawn = "yes";
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
