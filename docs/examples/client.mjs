// Watch an event: node client.mjs ws://localhost:8081/live 7 (Node 22; before it, with --experimental-websocket).
// In a page the browser sends the session cookie by itself.
const [url, eventId, cookie = "session=none"] = process.argv.slice(2);
if (eventId === undefined) {
  console.error("Watch an event: node client.mjs ws://localhost:8081/live 7 [Cookie header]");
  process.exit(1);
}
// With `batch` a frame holds all positions that are sent together.
const request = { type: "subscribe", topic: `event:${eventId}`, batch: true };

function watch() {
  const socket = new WebSocket(url, { headers: { Cookie: cookie } });
  socket.onopen = () => socket.send(JSON.stringify(request));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.code === "error") return socket.close(); // It passes: come back.
    if (frame.type === "error") {
      console.error(`${frame.code}: ${frame.message}`);
      process.exit(1);
    }
    for (const { deviceId, lat, lon, ts } of frame.snapshot ?? frame.positions ?? []) console.log(deviceId, lat, lon, ts);
    if (frame.type === "removed") console.log(frame.deviceId, "is not shown any more");
    if (frame.partial) console.error("the server's database is away: devices that are missing follow");
    // With the cursor of the last frame the next connection goes on where this one ended.
    request.since = frame.cursor ?? request.since;
  };
  let gone = false;
  // Node 20 tells of a refused upgrade by an error alone, later versions by an error and then a close.
  socket.onclose = socket.onerror = async ({ code = 1006 }) => {
    if (gone) return;
    gone = true;
    // 1006: perhaps the upgrade was refused; 4401: the session has ended.
    const waitMs = code === 1006 || code === 4401 ? await explain() : 0;
    setTimeout(watch, 1000 + waitMs);
  };
}

// The answer to a refused upgrade is hidden from programs: a GET of the same address gives it again.
async function explain() {
  try {
    const answer = await fetch(url.replace(/^ws/, "http"), { headers: { Cookie: cookie } });
    const refusal = await answer.json();
    if ([400, 401, 403, 404, 414, 431].includes(answer.status)) {
      console.error(`${refusal.code}: ${refusal.message}`);
      process.exit(1);
    }
    return 1000 * Number(answer.headers.get("Retry-After")) || 0;
  } catch {
    return 0; // Nobody there, or something else than the server.
  }
}

watch();
