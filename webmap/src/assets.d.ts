/** What the files beside the script are called: their names change with what is in them. Written in by build.mjs. */
declare const ASSETS: Readonly<Record<"feed.js" | "map-worker.js" | "world.json", string>>;
