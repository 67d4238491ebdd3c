// Watch an event: node client.mjs ws://localhost:8081/live 7 (Node 22; before it, with --experimental-websocket).
// In a page the browser sends the session cookie by itself.
const [url, eventId, cookie = "session=none"] = process.argv.slice(2);
// With `batch` a frame holds all positions that are sent together.
const request = { type: "subscribe", topic: `event:${eventId}`, batch: true };

function watch() {
  const socket = new WebSocket(url, { headers: { Cookie: cookie } });
  socket.onopen = () => socket.send(JSON.stringify(request));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
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
  socket.onclose = ({ code }) => {
    if (code === 4401) process.exit(1);
    setTimeout(watch, 1000);
  };
}

watch();
