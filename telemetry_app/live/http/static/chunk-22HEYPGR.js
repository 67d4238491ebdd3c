var o={"feed.js":"feed-TXELCVKC.js","map-worker.js":"map-worker-2CV7QXAD.js","world.json":"world-B6A8F325.json"};export{o as a};
