// The compact sequence of `fourreal reconstruct` (safetensors): read, unpacked for a time, sorted back to front.

// Tensors by name, as typed arrays that start at any byte, and the header's metadata.
function readSafetensors(bytes) {
  const size = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + size)));
  const kinds = { U16: Uint16Array, U8: Uint8Array, I8: Int8Array, F32: Float32Array };
  const tensors = {};
  const { __metadata__: metadata, ...entries } = header;
  for (const [name, { dtype, data_offsets: [start, end] }] of Object.entries(entries)) {
    tensors[name] = new kinds[dtype](bytes.slice(8 + size + start, 8 + size + end).buffer);
  }
  return { tensors, facts: JSON.parse(metadata["fourreal.sequence"]) };
}

const TEXELS = 4; // of four numbers for each Gaussian: mean opacity, xx xy xz yy, yz zz r g, b - - -

// Means [N, 3] and everything that the shader reads [N, 16] at a time.
function unpackTime({ tensors, facts }, time) {
  const { count, low, high, scale_low: scaleLow, scale_high: scaleHigh } = facts;
  const means = new Float32Array(3 * count);
  const data = new Float32Array(4 * TEXELS * count);
  const [s, m] = [[0, 0, 0], new Float64Array(9)];
  for (let n = 0; n < count; n++) {
    const place = 3 * (time * count + n);
    for (let i = 0; i < 3; i++) {
      means[3 * n + i] = low[i] + (tensors.means[place + i] / 65535) * (high[i] - low[i]);
      s[i] = Math.exp(scaleLow + (tensors.log_scales[place + i] / 255) * (scaleHigh - scaleLow));
    }
    let [w, x, y, z] = tensors.quaternions.subarray(4 * (time * count + n));
    const length = Math.hypot(w, x, y, z) || 1;
    [w, x, y, z] = [w / length, x / length, y / length, z / length];
    const rotation = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z),
      1 - 2 * (x * x + z * z), 2 * (y * z - w * x), 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)];
    for (let i = 0; i < 9; i++) m[i] = rotation[i] * s[i % 3];
    const covariance = (i, j) => m[3 * i] * m[3 * j] + m[3 * i + 1] * m[3 * j + 1] + m[3 * i + 2] * m[3 * j + 2];
    const colour = tensors.colours.subarray(4 * n, 4 * n + 4);
    data.set([means[3 * n], means[3 * n + 1], means[3 * n + 2], colour[3] / 255,
      covariance(0, 0), covariance(0, 1), covariance(0, 2), covariance(1, 1),
      covariance(1, 2), covariance(2, 2), colour[0] / 255, colour[1] / 255, colour[2] / 255], 4 * TEXELS * n);
  }
  return { means, data };
}

// Indices from the farthest to the nearest along the camera's axis: a counting sort over 65536 depths.
function backToFront(means, pose) {
  const count = means.length / 3;
  const [a, b, c] = pose[2];
  const depths = new Float32Array(count);
  let [near, far] = [Infinity, -Infinity];
  for (let n = 0; n < count; n++) {
    const depth = a * means[3 * n] + b * means[3 * n + 1] + c * means[3 * n + 2];
    depths[n] = depth;
    near = Math.min(near, depth);
    far = Math.max(far, depth);
  }
  const scale = far > near ? 65535 / (far - near) : 0;
  const starts = new Uint32Array(65537);
  const bins = new Uint16Array(count);
  for (let n = 0; n < count; n++) {
    bins[n] = (far - depths[n]) * scale;
    starts[bins[n] + 1] += 1;
  }
  for (let i = 1; i < starts.length; i++) starts[i] += starts[i - 1];
  const order = new Uint32Array(count);
  for (let n = 0; n < count; n++) order[starts[bins[n]]++] = n;
  return order;
}
