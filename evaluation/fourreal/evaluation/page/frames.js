// Frames lie in inert script blocks as base64 JPEG, one a line, in the order of [view, time]. Each is decoded when it
// is first needed and kept until memory asks for the one that was shown longest ago.

const CACHE_BYTES = 384 * 2 ** 20;

const lines = new Map(); // "grid-panel" -> base64 of each frame; of the grids on the stage only
const bitmaps = new Map(); // "grid-panel-frame" -> {image: promise of an ImageBitmap, bytes}, oldest use first
let cachedBytes = 0;

function base64Of(grid, panel, frame) {
  const id = `${grid}-${panel}`;
  if (!lines.has(id)) {
    lines.set(id, $(`frames-${id}`).textContent.trim().split("\n"));
  }
  return lines.get(id)[frame];
}

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

function decode(base64) {
  return createImageBitmap(new Blob([bytesOf(base64)], { type: "image/jpeg" }));
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

const hasFrame = (panel, v, t) => v >= 0 && t >= 0 && v < panel.views && t < panel.times;

// The frame at (view, time) of a panel as a promise; of null where the panel has no such frame.
function frameAt({ grid, panel }, v, t) {
  const { times } = library.grids[grid].panels[panel];
  return hasFrame(library.grids[grid].panels[panel], v, t) ? bitmap(grid, panel, v * times + t) : Promise.resolve(null);
}
