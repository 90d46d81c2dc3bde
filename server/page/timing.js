// What the browser measured of a request (Resource Timing), where its own queueing is apart from the server's part.

const PATIENCE = 500; // milliseconds for the browser to hand it out; that is a little after the answer
const awaited = new Set(); // {name, from, resolve}

new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    for (const each of awaited) {
      if (entry.name === each.name && entry.startTime >= each.from) {
        awaited.delete(each);
        each.resolve(entry);
        break;
      }
    }
  }
  performance.clearResourceTimings(); // its buffer is finite
}).observe({ type: "resource" });

/**
 * Fetch, and read the answer. `queued` is how long the browser has held the request back, `server` the time from the
 * request to the first byte of the answer, in seconds; null where the browser does not say. Never from a cache.
 */
export async function timed(path, options = {}) {
  const name = new URL(path, location.href).href;
  let wait;
  const measured = new Promise((resolve) => awaited.add((wait = { name, from: performance.now(), resolve })));
  try {
    const answer = await fetch(path, { cache: "no-store", ...options });
    const body = await answer.text();
    const at = performance.now() / 1000;
    const timer = setTimeout(wait.resolve, PATIENCE, null);
    const rest = measured.then((entry) => {
      clearTimeout(timer);
      if (!entry || !entry.requestStart) return { queued: null, server: null, timing: {} };
      return {
        queued: (entry.requestStart - entry.startTime) / 1000,
        server: (entry.responseStart - entry.requestStart) / 1000,
        timing: Object.fromEntries((entry.serverTiming ?? []).map((each) => [each.name, each.duration / 1000])),
      };
    });
    return { status: answer.status, headers: answer.headers, body, at, rest };
  } finally {
    setTimeout(() => awaited.delete(wait), 2 * PATIENCE);
  }
}
