/**
 * GLSL of the device layer. Positions come as a coarse and a fine float, and are made relative to the centre of the view.
 * Everything is read from two textures by gl_VertexID. Instancing would be usual, but software renderers
 * (virtual machines, remote desktops) treat each instance as a draw call of its own.
 */

const COMMON = `#version 300 es
precision highp float;
precision highp sampler2D;
uniform sampler2D u_devices; // 4 texels per device: from, to, (glide, speed, course), (flags, head sequence)
uniform sampler2D u_slots;   // 2 texels per slot: position, (sequence)
uniform vec4 u_center;   // mercator x, y coarse; x, y fine
uniform mat2 u_project;  // mercator difference to clip space
uniform vec2 u_pixel;    // clip units per device pixel
uniform float u_ratio;   // device pixels per CSS pixel
uniform float u_now;     // milliseconds since the buffer was filled
uniform float u_scale;   // km/h at the end of the colour scale
uniform float u_dark;
vec4 texel(sampler2D data, int at) { return texelFetch(data, ivec2(at & 511, at >> 9), 0); }
// In the nearest of the worlds side by side, and the other end of a line in the world of the first.
vec2 nearest(vec2 place, vec2 to) { return vec2(place.x - round(place.x - to.x), place.y); }
vec2 apart(vec4 position) { return (position.xy - u_center.xy) + (position.zw - u_center.zw); }
vec2 relative(vec4 position) { return nearest(apart(position), vec2(0.0)); }
float progress(vec2 glide) { return glide.y > 0.0 ? clamp((u_now - glide.x) / glide.y, 0.0, 1.0) : 1.0; }
vec3 speedColor(float speed) {
  float t = clamp(speed / u_scale, 0.0, 1.0) * 3.0;
  vec3 a = mix(vec3(0.31, 0.35, 0.95), vec3(0.23, 0.66, 0.94), u_dark);
  vec3 b = mix(vec3(0.02, 0.55, 0.56), vec3(0.16, 0.88, 0.69), u_dark);
  vec3 c = mix(vec3(0.85, 0.50, 0.02), vec3(0.98, 0.83, 0.25), u_dark);
  vec3 d = mix(vec3(0.84, 0.10, 0.27), vec3(1.00, 0.38, 0.36), u_dark);
  return t < 1.0 ? mix(a, b, t) : t < 2.0 ? mix(b, c, t - 1.0) : mix(c, d, t - 2.0);
}
// End (0 or 1) and side (-1 or 1) of a vertex of the two triangles that make a segment.
vec2 corner(int vertex) {
  int at = vertex % 6;
  return vec2(at == 1 || at == 2 || at == 4 ? 1.0 : 0.0, at == 0 || at == 1 || at == 3 ? -1.0 : 1.0);
}
vec3 stale() { return mix(vec3(0.47, 0.51, 0.58), vec3(0.50, 0.55, 0.63), u_dark); }
`;

/** Six vertices for each segment of each trail. */
export const TRAIL_VERTEX = `${COMMON}
uniform int u_points;
out vec4 v_color;
out vec2 v_across; // pixels from the middle, half width
void main() {
  int segment = gl_VertexID / 6;
  int device = segment / u_points;
  int slot = (device * (u_points + 1) + segment % u_points) * 2;
  float sequence = texel(u_slots, slot + 1).x;
  vec4 motion = texel(u_devices, device * 4 + 2);
  vec4 look = texel(u_devices, device * 4 + 3);
  gl_Position = vec4(2.0, 2.0, 0.0, 1.0);
  v_color = vec4(0.0);
  v_across = vec2(0.0, 1.0);
  if (look.x < 0.0 || sequence <= 0.0 || texel(u_slots, slot + 3).x != sequence + 1.0) return;
  vec2 from = relative(texel(u_slots, slot));
  vec2 a = u_project * from;
  vec2 b = u_project * nearest(apart(texel(u_slots, slot + 2)), from);
  vec2 along = (b - a) / u_pixel;
  float extent = length(along);
  if (extent < 0.01) return;
  vec2 at = corner(gl_VertexID);
  float age = clamp((look.y - sequence - at.x) / float(u_points), 0.0, 1.0);
  bool selected = look.x >= 2.0;
  bool old = mod(look.x, 2.0) >= 1.0;
  float width = mix(selected ? 5.0 : 3.2, selected ? 1.6 : 0.8, age) * 0.5 * u_ratio;
  v_across = vec2(at.y * (width + 1.0), width);
  vec2 normal = vec2(-along.y, along.x) / extent * v_across.x;
  gl_Position = vec4(mix(a, b, at.x) + normal * u_pixel, 0.0, 1.0);
  float alpha = (selected ? 0.95 : 0.62) * (1.0 - age) * (old ? 0.45 : 1.0);
  v_color = vec4((old ? stale() : speedColor(motion.z)) * alpha, alpha);
}`;

/** The piece from the end of a trail to the gliding marker: six vertices per device. */
export const STUB_VERTEX = `${COMMON}
out vec4 v_color;
out vec2 v_across; // pixels from the middle, half width
void main() {
  int device = (gl_VertexID / 6) * 4;
  vec4 motion = texel(u_devices, device + 2);
  vec4 look = texel(u_devices, device + 3);
  gl_Position = vec4(2.0, 2.0, 0.0, 1.0);
  v_color = vec4(0.0);
  v_across = vec2(0.0, 1.0);
  if (look.x < 0.0 || motion.y <= 0.0) return;
  vec2 from = relative(texel(u_devices, device));
  vec2 a = u_project * from;
  vec2 b = u_project * mix(from, nearest(apart(texel(u_devices, device + 1)), from), progress(motion.xy));
  vec2 along = (b - a) / u_pixel;
  float extent = length(along);
  if (extent < 0.01) return;
  vec2 at = corner(gl_VertexID);
  bool selected = look.x >= 2.0;
  float width = (selected ? 2.5 : 1.6) * u_ratio;
  v_across = vec2(at.y * (width + 1.0), width);
  vec2 normal = vec2(-along.y, along.x) / extent * v_across.x;
  gl_Position = vec4(mix(a, b, at.x) + normal * u_pixel, 0.0, 1.0);
  bool old = mod(look.x, 2.0) >= 1.0;
  float alpha = (selected ? 0.95 : 0.62) * (old ? 0.45 : 1.0);
  v_color = vec4((old ? stale() : speedColor(motion.z)) * alpha, alpha);
}`;

export const LINE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 v_color;
in vec2 v_across;
out vec4 color;
void main() { color = v_color * clamp(v_across.y + 0.5 - abs(v_across.x), 0.0, 1.0); }`;

/** A point per device. */
export const MARKER_VERTEX = `${COMMON}
uniform float u_size;    // CSS pixels per unit of the drawing
uniform float u_bearing; // radians
flat out float v_reach;
flat out mat2 v_turn;
flat out vec3 v_fill;
flat out float v_flags;
flat out float v_moving;
void main() {
  int device = gl_VertexID * 4;
  vec4 motion = texel(u_devices, device + 2);
  v_flags = texel(u_devices, device + 3).x;
  bool selected = v_flags >= 2.0;
  bool old = mod(v_flags, 2.0) >= 1.0;
  v_reach = selected ? 24.0 : 18.0;
  float turn = radians(motion.w) - u_bearing;
  v_turn = mat2(cos(turn), -sin(turn), sin(turn), cos(turn));
  v_fill = old ? stale() : speedColor(motion.z);
  v_moving = motion.z > 0.0 && !old ? 1.0 : 0.0;
  vec2 from = relative(texel(u_devices, device));
  vec2 between = mix(from, nearest(apart(texel(u_devices, device + 1)), from), progress(motion.xy));
  gl_Position = v_flags < 0.0 ? vec4(2.0, 2.0, 0.0, 1.0) : vec4(u_project * between, 0.0, 1.0);
  gl_PointSize = 2.0 * v_reach * (selected ? max(u_size, 1.0) * 1.2 : u_size) * u_ratio;
}`;

/** An arrow for a moving device, a dot for a standing one, a ring for a stale one; a wide ring around the selected one. */
export const MARKER_FRAGMENT = `#version 300 es
precision highp float;
uniform float u_dark;
uniform float u_glow;
flat in float v_reach;
flat in mat2 v_turn;
flat in vec3 v_fill;
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
  vec2 at = (gl_PointCoord * 2.0 - 1.0) * v_reach;
  bool old = mod(v_flags, 2.0) >= 1.0;
  float d = v_moving > 0.5 ? arrow(v_turn * at) : length(at) - (old ? 4.5 : 5.5);
  if (old) d = abs(d) - 1.3;
  float soft = max(fwidth(d), 0.001);
  float fill = 1.0 - smoothstep(-soft, soft, d);
  float edge = 1.0 - smoothstep(-soft, soft, d - 1.6);
  vec3 rim = mix(vec3(1.0), vec3(0.03, 0.05, 0.09), u_dark);
  vec4 result = vec4(0.0);
  if (!old && u_glow > 0.0) {
    float glow = u_glow * exp(-max(d, 0.0) * 0.28) * smoothstep(18.0, 11.0, length(at));
    result = vec4(v_fill * glow, glow * 0.6);
  }
  result = over(vec4(rim, 1.0) * edge * (old ? 0.5 : 0.9), result);
  result = over(vec4(v_fill, 1.0) * fill, result);
  if (v_flags >= 2.0) {
    float ring = abs(length(at) - 17.0) - 1.1;
    float ringSoft = max(fwidth(ring), 0.001);
    vec3 ink = mix(vec3(0.06, 0.09, 0.16), vec3(1.0), u_dark);
    result = over(vec4(ink, 1.0) * (1.0 - smoothstep(-ringSoft, ringSoft, ring)), result);
  }
  if (result.a < 0.004) discard;
  color = result;
}`;
