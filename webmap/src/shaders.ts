/** GLSL of the device layer. Positions come as coarse + fine floats and are made relative to the view's centre. */

const COMMON = `#version 300 es
precision highp float;
uniform vec4 u_center;   // mercator x, y coarse; x, y fine
uniform mat2 u_project;  // mercator difference to clip space
uniform vec2 u_pixel;    // clip units per device pixel
uniform float u_ratio;   // device pixels per CSS pixel
uniform float u_now;     // milliseconds since the buffer was filled
uniform float u_scale;   // km/h at the end of the colour scale
uniform float u_dark;
vec2 relative(vec4 position) { return (position.xy - u_center.xy) + (position.zw - u_center.zw); }
float progress(vec2 glide) { return glide.y > 0.0 ? clamp((u_now - glide.x) / glide.y, 0.0, 1.0) : 1.0; }
vec3 speedColor(float speed) {
  float t = clamp(speed / u_scale, 0.0, 1.0) * 3.0;
  vec3 a = mix(vec3(0.31, 0.35, 0.95), vec3(0.23, 0.66, 0.94), u_dark);
  vec3 b = mix(vec3(0.02, 0.55, 0.56), vec3(0.16, 0.88, 0.69), u_dark);
  vec3 c = mix(vec3(0.85, 0.50, 0.02), vec3(0.98, 0.83, 0.25), u_dark);
  vec3 d = mix(vec3(0.84, 0.10, 0.27), vec3(1.00, 0.38, 0.36), u_dark);
  return t < 1.0 ? mix(a, b, t) : t < 2.0 ? mix(b, c, t - 1.0) : mix(c, d, t - 2.0);
}
vec3 stale() { return mix(vec3(0.47, 0.51, 0.58), vec3(0.50, 0.55, 0.63), u_dark); }
`;

/** One segment of a trail per instance. */
export const TRAIL_VERTEX = `${COMMON}
layout(location = 0) in vec4 a_a;
layout(location = 1) in float a_sequenceA;
layout(location = 2) in vec4 a_b;
layout(location = 3) in float a_sequenceB;
layout(location = 4) in vec4 a_look; // speed, course, flags, head sequence
uniform float u_points;
out vec4 v_color;
void main() {
  bool real = a_sequenceA > 0.0 && a_sequenceB == a_sequenceA + 1.0
    && float(gl_InstanceID % (int(u_points) + 1)) != u_points && a_look.z >= 0.0;
  vec2 a = u_project * relative(a_a);
  vec2 b = u_project * relative(a_b);
  vec2 along = (b - a) / u_pixel;
  float extent = length(along);
  if (!real || extent < 0.01) { gl_Position = vec4(2.0, 2.0, 0.0, 1.0); return; }
  vec2 direction = along / extent;
  float end = float(gl_VertexID >> 1);
  float side = float(gl_VertexID & 1) * 2.0 - 1.0;
  float age = clamp((a_look.w - mix(a_sequenceA, a_sequenceB, end)) / u_points, 0.0, 1.0);
  bool selected = a_look.z >= 2.0;
  float width = mix(selected ? 5.0 : 3.2, selected ? 1.6 : 0.8, age) * 0.5 * u_ratio;
  gl_Position = vec4(mix(a, b, end) + vec2(-direction.y, direction.x) * side * width * u_pixel, 0.0, 1.0);
  float alpha = (selected ? 0.95 : 0.62) * (1.0 - age) * (mod(a_look.z, 2.0) >= 1.0 ? 0.45 : 1.0);
  v_color = vec4((mod(a_look.z, 2.0) >= 1.0 ? stale() : speedColor(a_look.x)) * alpha, alpha);
}`;

/** The piece from a trail's end to the gliding marker, one per device. */
export const STUB_VERTEX = `${COMMON}
layout(location = 0) in vec4 a_from;
layout(location = 1) in vec4 a_to;
layout(location = 2) in vec2 a_glide;
layout(location = 3) in vec4 a_look;
out vec4 v_color;
void main() {
  vec2 a = u_project * relative(a_from);
  vec2 b = u_project * mix(relative(a_from), relative(a_to), progress(a_glide));
  vec2 along = (b - a) / u_pixel;
  float extent = length(along);
  if (extent < 0.01 || a_look.z < 0.0) { gl_Position = vec4(2.0, 2.0, 0.0, 1.0); return; }
  float end = float(gl_VertexID >> 1);
  float side = float(gl_VertexID & 1) * 2.0 - 1.0;
  bool selected = a_look.z >= 2.0;
  vec2 normal = vec2(-along.y, along.x) / extent * side * (selected ? 2.5 : 1.6) * u_ratio;
  gl_Position = vec4(mix(a, b, end) + normal * u_pixel, 0.0, 1.0);
  float alpha = selected ? 0.95 : 0.62;
  v_color = vec4(speedColor(a_look.x) * alpha, alpha);
}`;

export const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_color;
out vec4 color;
void main() { color = v_color; }`;

/** A marker per instance. */
export const MARKER_VERTEX = `${COMMON}
layout(location = 0) in vec4 a_from;
layout(location = 1) in vec4 a_to;
layout(location = 2) in vec2 a_glide;
layout(location = 3) in vec4 a_look;
uniform float u_size;    // CSS pixels per unit of the drawing
uniform float u_bearing; // radians
out vec2 v_at;
out vec2 v_turned;
out vec3 v_fill;
flat out float v_flags;
flat out float v_moving;
void main() {
  if (a_look.z < 0.0) { gl_Position = vec4(2.0, 2.0, 0.0, 1.0); return; }
  vec2 corner = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1)) * 2.0 - 1.0;
  bool selected = a_look.z >= 2.0;
  float reach = selected ? 24.0 : 18.0;
  float size = selected ? max(u_size, 1.0) * 1.2 : u_size;
  v_at = corner * reach;
  vec2 center = u_project * mix(relative(a_from), relative(a_to), progress(a_glide));
  gl_Position = vec4(center + vec2(v_at.x, -v_at.y) * size * u_ratio * u_pixel, 0.0, 1.0);
  float turn = radians(a_look.y) - u_bearing;
  v_turned = mat2(cos(turn), -sin(turn), sin(turn), cos(turn)) * v_at;
  bool old = mod(a_look.z, 2.0) >= 1.0;
  v_fill = old ? stale() : speedColor(a_look.x);
  v_flags = a_look.z;
  v_moving = a_look.x > 0.0 && !old ? 1.0 : 0.0;
}`;

/** Arrow when moving, dot when standing, ring when stale; a wide ring around the selected one. */
export const MARKER_FRAGMENT = `#version 300 es
precision highp float;
uniform float u_dark;
uniform float u_glow;
in vec2 v_at;
in vec2 v_turned;
in vec3 v_fill;
flat in float v_flags;
flat in float v_moving;
out vec4 color;
float arrow(vec2 p) {
  p.x = abs(p.x);
  float flank = dot(p - vec2(0.0, -10.0), normalize(vec2(17.5, -7.0)));
  float base = dot(p - vec2(7.0, 7.5), normalize(vec2(-4.0, 7.0)));
  return max(flank, base);
}
vec4 over(vec4 top, vec4 below) { return top + below * (1.0 - top.a); }
void main() {
  bool old = mod(v_flags, 2.0) >= 1.0;
  float d = v_moving > 0.5 ? arrow(v_turned) : length(v_at) - (old ? 4.5 : 5.5);
  if (old) d = abs(d) - 1.3;
  float soft = max(fwidth(d), 0.001);
  float fill = 1.0 - smoothstep(-soft, soft, d);
  float edge = 1.0 - smoothstep(-soft, soft, d - 1.6);
  vec3 rim = mix(vec3(1.0), vec3(0.03, 0.05, 0.09), u_dark);
  vec4 result = vec4(0.0);
  if (!old && u_glow > 0.0) {
    float glow = u_glow * exp(-max(d, 0.0) * 0.28) * smoothstep(18.0, 11.0, length(v_at));
    result = vec4(v_fill * glow, glow * 0.6);
  }
  result = over(vec4(rim, 1.0) * edge * (old ? 0.5 : 0.9), result);
  result = over(vec4(v_fill, 1.0) * fill, result);
  if (v_flags >= 2.0) {
    float ring = abs(length(v_at) - 17.0) - 1.1;
    float ringSoft = max(fwidth(ring), 0.001);
    vec3 ink = mix(vec3(0.06, 0.09, 0.16), vec3(1.0), u_dark);
    result = over(vec4(ink, 1.0) * (1.0 - smoothstep(-ringSoft, ringSoft, ring)), result);
  }
  if (result.a < 0.004) discard;
  color = result;
}`;
