/** The little of WebGL 2 that the device layer needs, with failures that say what failed. */

export interface Program {
  readonly program: WebGLProgram;
  uniform(name: string): WebGLUniformLocation | null;
}

export function createProgram(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind);
    if (shader === null) throw new Error("The graphics context is lost.");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (gl.getProgramParameter(program, gl.LINK_STATUS) !== true && !gl.isContextLost()) {
    const logs = (gl.getAttachedShaders(program) ?? []).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`A shader does not link: ${gl.getProgramInfoLog(program)} ${logs.join(" ")}`);
  }
  const locations = new Map<string, WebGLUniformLocation | null>();
  return {
    program,
    uniform: (name) => {
      if (!locations.has(name)) locations.set(name, gl.getUniformLocation(program, name));
      return locations.get(name) ?? null;
    },
  };
}

/** One attribute of an interleaved buffer of floats, advancing every `divisor` instances. */
export interface Attribute {
  readonly location: number;
  readonly size: number;
  readonly strideFloats: number;
  readonly offsetFloats: number;
  readonly divisor: number;
}

export function bindAttributes(gl: WebGL2RenderingContext, buffer: WebGLBuffer, attributes: readonly Attribute[]): void {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  for (const { location, size, strideFloats, offsetFloats, divisor } of attributes) {
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, gl.FLOAT, false, strideFloats * 4, offsetFloats * 4);
    gl.vertexAttribDivisor(location, divisor);
  }
}
