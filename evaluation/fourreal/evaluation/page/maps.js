// Maps instead of frames: how far a panel is from the first one, and how much it flickers along time.

const MAP_GAIN = 4; // a difference of 64 grey levels is the brightest
const scratch = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });

function pixelsOf(image) {
  scratch.canvas.width = image.width;
  scratch.canvas.height = image.height;
  scratch.drawImage(image, 0, 0);
  return scratch.getImageData(0, 0, image.width, image.height).data;
}

// What a map is made of: the frames at [panel, view, time], and the change of one channel given theirs.
const maps = {
  difference: {
    frames: (place, v, t) => [[stage[0].place, v, t], [place, v, t]],
    change: ([a, b], i) => Math.abs(a[i] - b[i]),
    missing: "no such frame in both",
  },
  flicker: { // |x[t-1] - 2 x[t] + x[t+1]| / 2, as the metric of this name
    frames: (place, v, t) => [[place, v, t - 1], [place, v, t], [place, v, t + 1]],
    change: ([a, b, c], i) => Math.abs(a[i] - 2 * b[i] + c[i]) / 2,
    missing: "no frame before or after",
  },
};

const mapFrames = (name, place, v, t) => Promise.all(maps[name].frames(place, v, t).map((at) => frameAt(...at)));

// Paints the map and tells its mean in grey levels, or why there is none.
function paintMap(name, images, context) {
  const { width, height } = context.canvas;
  context.clearRect(0, 0, width, height);
  if (images.some((image) => !image)) return maps[name].missing;
  if (images.some((image) => image.width !== width || image.height !== height)) return "of another size";
  const inputs = images.map(pixelsOf);
  const picture = context.createImageData(width, height);
  let sum = 0;
  for (let i = 0; i < picture.data.length; i += 4) {
    let change = 0;
    for (let channel = 0; channel < 3; channel++) change += maps[name].change(inputs, i + channel);
    sum += change;
    const heat = (change / 3) * MAP_GAIN; // black, red, yellow, white
    picture.data[i] = heat * 3;
    picture.data[i + 1] = heat * 3 - 255;
    picture.data[i + 2] = heat * 3 - 510;
    picture.data[i + 3] = 255;
  }
  context.putImageData(picture, 0, 0);
  return `${(sum / (3 * width * height)).toFixed(2)} grey levels`;
}

function showAs(name) {
  state.shown = name;
  $("shown").value = name;
  show(state.view, state.time);
}

$("shown").addEventListener("change", (event) => showAs(event.target.value));
