// Bundle the live map into the Python package, or (with --tests) the unit tests into .test-build.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const here = path.dirname(fileURLToPath(import.meta.url));
const packages = path.join(here, "node_modules");
const output = path.join(here, "..", "telemetry_app", "live", "http", "static");
const shared = { bundle: true, format: "esm", target: "es2022", legalComments: "none", logLevel: "warning" };

// The outlines without what the map never shows: only the names stay, for the labels.
async function writeWorld() {
  const atlas = JSON.parse(await readFile(path.join(packages, "world-atlas", "countries-50m.json"), "utf8"));
  for (const country of atlas.objects.countries.geometries) {
    country.properties = { name: country.properties.name };
    delete country.id;
  }
  delete atlas.objects.land;
  const text = JSON.stringify(atlas);
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 8).toUpperCase();
  const name = `world-${hash}.json`;
  await writeFile(path.join(output, name), text);
  return { "world.json": name };
}

async function writeLicenses() {
  const names = ["@protomaps/basemaps", "fflate", "maplibre-gl", "pmtiles", "topojson-client", "world-atlas"];
  const texts = await Promise.all(
    names.map(async (name) => {
      const folder = path.join(packages, name);
      const { version } = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8"));
      const file = (await readdir(folder)).find((entry) => entry.toUpperCase().startsWith("LICENSE"));
      // Protomaps' packages come without it.
      const license = file === undefined ? path.join(here, "licenses/protomaps.txt") : path.join(folder, file);
      return `${name} ${version}\n\n${(await readFile(license, "utf8")).trim()}\n`;
    }),
  );
  await writeFile(path.join(output, "LICENSES.txt"), texts.join(`\n${"-".repeat(72)}\n\n`));
}

/** Paths of all files below `folder`, relative to this one, with slashes. */
async function filesBelow(folder) {
  const entries = await readdir(path.join(here, folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  return files.map((file) => path.relative(here, file).replaceAll(path.sep, "/"));
}

async function digest(folder, names) {
  const hash = createHash("sha256");
  for (const name of names.sort()) hash.update(`${name}\0`).update(await readFile(path.join(folder, name))).update("\0");
  return hash.digest("hex");
}

// Beside each file, as the server sends them to whoever takes the encoding.
async function writeCompressed() {
  for (const name of await readdir(output)) {
    const file = path.join(output, name);
    const content = await readFile(file);
    const brotli = { params: { [constants.BROTLI_PARAM_SIZE_HINT]: content.length } };
    await writeFile(`${file}.br`, await promisify(brotliCompress)(content, brotli));
    await writeFile(`${file}.gz`, await promisify(gzip)(content, { level: constants.Z_BEST_COMPRESSION }));
  }
}

// A test compares this with the files as they are, which tells without Node whether the bundle is up to date.
async function writeDigests() {
  const sources = await filesBelow("src");
  const built = await readdir(output);
  const digests = {
    sources: await digest(here, [...sources, "build.mjs", "index.html", "licenses/protomaps.txt", "package.json", "tsconfig.json"]),
    built: await digest(output, built),
  };
  await writeFile(path.join(output, "build.json"), `${JSON.stringify(digests, null, 2)}\n`);
}

/** Bundle one or more entries into files whose names change when they do; return these by what the entries are called. */
async function bundle(entryPoints, options) {
  const { metafile } = await build({ ...shared, entryPoints, outdir: output, entryNames: "[name]-[hash]", minify: true, metafile: true, ...options });
  const built = Object.entries(metafile.outputs).filter(([, { entryPoint }]) => entryPoint !== undefined);
  return Object.fromEntries(built.map(([file]) => [path.basename(file).replace(/-[A-Z0-9]{8}\./, "."), path.basename(file)]));
}

/** The page, which names the files that it begins with as they are called now. */
async function writePage(names) {
  const page = await readFile(path.join(here, "index.html"), "utf8");
  const script = await readFile(path.join(output, names["app.js"]), "utf8");
  // Otherwise the browser would learn of them, and ask, when it has read the script.
  const imported = new Set([...script.matchAll(/(?<=\bfrom"|\bimport")\.\/([\w.-]+)(?=")/g)].map(([, name]) => name));
  const preloads = [...imported].map((name) => `<link rel="modulepreload" href="${name}" />\n    `);
  const named = page.replace(/(?<=(?:src|href)=")app\.\w+(?=")/g, (name) => names[name]);
  await writeFile(path.join(output, "index.html"), named.replace("<script ", `${preloads.join("")}<script `));
}

async function buildApp() {
  await rm(output, { recursive: true, force: true });
  await mkdir(output, { recursive: true });
  const assets = {
    ...(await bundle({ feed: path.join(here, "src/worker.ts") })),
    ...(await bundle({ "map-worker": path.join(packages, "maplibre-gl/dist/maplibre-gl-worker.mjs") })),
    ...(await writeWorld()),
  };
  const define = { ASSETS: JSON.stringify(assets) };
  // What is imported when it is needed has a file of its own.
  const app = await bundle({ app: path.join(here, "src/app.ts") }, { define, splitting: true, chunkNames: "[name]-[hash]" });
  await writePage({ ...app, "app.css": (await readdir(output)).find((name) => /^app-.*\.css$/.test(name)) });
  await writeLicenses();
  await writeCompressed();
  await writeDigests();
}

async function buildTests() {
  const outdir = path.join(here, ".test-build");
  await rm(outdir, { recursive: true, force: true });
  const files = (await filesBelow("test")).filter((file) => file.endsWith(".test.ts"));
  await build({
    ...shared,
    // Side by side, where Node 20 finds them without patterns for folders.
    entryPoints: files.map((file) => ({ in: path.join(here, file), out: file.slice("test/".length, -".ts".length).replaceAll("/", "-") })),
    outdir,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    sourcemap: "inline",
  });
}

await (process.argv.includes("--tests") ? buildTests() : buildApp());
