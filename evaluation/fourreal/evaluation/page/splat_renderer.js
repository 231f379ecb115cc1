// Draws Gaussians in WebGL2 by the formulas of the rasterizer that fitted them: EWA splatting, 0.3 px of blur at the
// fitted size, alpha below 1/255 left out; over the environment, a colour for each direction.

const VERTEX = `#version 300 es
precision highp float; precision highp int;
uniform highp sampler2D gaussians;
uniform mat4 pose; // world to camera
uniform vec4 lens; // fx fy cx cy, in pixels of the canvas
uniform vec2 size;
uniform float blur;
in uint index;
flat out vec3 conic; flat out vec4 colour; out vec2 offset;
vec4 texel(int n) {
  int at = int(index) * ${TEXELS} + n, width = textureSize(gaussians, 0).x;
  return texelFetch(gaussians, ivec2(at % width, at / width), 0);
}
void main() {
  vec4 a = texel(0), b = texel(1), c = texel(2), d = texel(3);
  vec3 p = (pose * vec4(a.xyz, 1.0)).xyz;
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  float reach = 2.0 * log(a.w * 255.0);
  if (p.z <= 0.01 || reach <= 0.0) return;
  vec2 slope = p.xy / p.z, margin = 0.15 * size / lens.xy;
  vec2 t = clamp(slope, -lens.zw / lens.xy - margin, (size - lens.zw) / lens.xy + margin);
  mat3 jacobian = mat3(lens.x / p.z, 0.0, 0.0, 0.0, lens.y / p.z, 0.0, -lens.x * t.x / p.z, -lens.y * t.y / p.z, 0.0);
  mat3 spread = jacobian * mat3(pose);
  mat3 covariance = spread * mat3(b.x, b.y, b.z, b.y, b.w, c.x, b.z, c.x, c.y) * transpose(spread);
  float xx = covariance[0][0] + blur, yy = covariance[1][1] + blur, xy = covariance[0][1];
  conic = vec3(yy, -xy, xx) / (xx * yy - xy * xy);
  colour = vec4(clamp(vec3(c.zw, d.x), 0.0, 1.0), a.w);
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
  offset = corner * sqrt(reach * vec2(xx, yy));
  vec2 pixel = slope * lens.xy + lens.zw + offset;
  gl_Position = vec4(pixel / size * vec2(2.0, -2.0) + vec2(-1.0, 1.0), 0.0, 1.0);
}`;
const FRAGMENT = `#version 300 es
precision highp float;
flat in vec3 conic; flat in vec4 colour; in vec2 offset; out vec4 result;
void main() {
  float power = -0.5 * (conic.x * offset.x * offset.x + conic.z * offset.y * offset.y) - conic.y * offset.x * offset.y;
  float alpha = min(0.999, colour.a * exp(min(power, 0.0)));
  if (alpha < 1.0 / 255.0) discard;
  result = vec4(colour.rgb * alpha, alpha);
}`;
const SKY_VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;
const SKY_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D sky; uniform mat4 pose; uniform vec4 lens; uniform vec2 size; out vec4 result;
void main() {
  vec2 pixel = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y);
  vec3 ray = normalize(transpose(mat3(pose)) * vec3((pixel - lens.zw) / lens.xy, 1.0));
  vec2 at = vec2(atan(ray.y, ray.x) / 3.14159265, ray.z) * 0.5 + 0.5;
  // Without derivatives: at the seam of the azimuth they would ask for a blurred picture.
  result = vec4(textureLod(sky, at, 0.0).rgb, 1.0);
}`;

class SplatRenderer {
  constructor(canvas) {
    const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true });
    if (!gl) throw new Error("this browser offers no WebGL2");
    this.gl = gl;
    this.splats = this.program(VERTEX, FRAGMENT);
    this.sky = this.program(SKY_VERTEX, SKY_FRAGMENT);
    this.order = gl.createBuffer();
    this.gaussians = this.texture(gl.NEAREST, gl.CLAMP_TO_EDGE);
    this.picture = this.texture(gl.LINEAR, gl.REPEAT);
    this.vertices = gl.createVertexArray();
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    const index = gl.getAttribLocation(this.splats, "index");
    gl.enableVertexAttribArray(index);
    gl.vertexAttribIPointer(index, 1, gl.UNSIGNED_INT, 0, 0);
    gl.vertexAttribDivisor(index, 1);
    this.noVertices = gl.createVertexArray();
  }

  program(...sources) {
    const { gl } = this;
    const program = gl.createProgram();
    [gl.VERTEX_SHADER, gl.FRAGMENT_SHADER].forEach((kind, i) => {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, sources[i]);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    });
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  texture(filter, wrap) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, filter);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, wrap);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    return texture;
  }

  // Colours [rows, columns, 3] of bytes.
  setSky(bytes, rows, columns) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.picture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, columns, rows, 0, gl.RGB, gl.UNSIGNED_BYTE, bytes);
  }

  // What `unpackTime` made.
  setGaussians(data) {
    const { gl } = this;
    const width = 1024 * TEXELS;
    const rows = Math.max(1, Math.ceil(data.length / (4 * width)));
    const whole = new Float32Array(4 * width * rows);
    whole.set(data);
    gl.bindTexture(gl.TEXTURE_2D, this.gaussians);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, width, rows, 0, gl.RGBA, gl.FLOAT, whole);
  }

  // order: Gaussians back to front; pose: world to camera; lens: [fx, fy, cx, cy] in pixels of the canvas.
  draw(order, pose, lens, blur) {
    const { gl } = this;
    const { width, height } = gl.canvas;
    gl.viewport(0, 0, width, height);
    gl.disable(gl.BLEND);
    this.use(this.sky, this.picture, "sky", pose, lens);
    gl.bindVertexArray(this.noVertices);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.use(this.splats, this.gaussians, "gaussians", pose, lens);
    gl.uniform1f(gl.getUniformLocation(this.splats, "blur"), blur);
    gl.bindVertexArray(this.vertices);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.order);
    gl.bufferData(gl.ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, order.length);
  }

  use(program, texture, sampler, pose, lens) {
    const { gl } = this;
    const at = (name) => gl.getUniformLocation(program, name);
    gl.useProgram(program);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.uniform1i(at(sampler), 0);
    gl.uniformMatrix4fv(at("pose"), true, pose.flat());
    gl.uniform4fv(at("lens"), lens);
    gl.uniform2f(at("size"), gl.canvas.width, gl.canvas.height);
  }
}
