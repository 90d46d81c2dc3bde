// Puts the page together: what measures, what draws, and the clock of both.

import { Calls, WAYS } from "./calls.js";
import { Chart } from "./chart.js";
import { now } from "./clock.js";
import { curl } from "./curl.js";
import { byId, write, writeRows } from "./dom.js";
import { duration } from "./format.js";
import { JobCard } from "./job.js";
import { Live } from "./live.js";
import { Probe } from "./probe.js";
import { QueueCard } from "./queue.js";
import { save } from "./report.js";
import { Results } from "./results.js";
import { Rows } from "./rows.js";
import { Samples, quantile } from "./samples.js";
import { drawStatistics } from "./strip.js";
import { TopicCard } from "./topic.js";

const SPAN = 60; // seconds that the charts show
const STEP = 0.1; // seconds between two requests
const SILENCE = 1.6; // seconds without a word from the server, which has one each second
const QUEUED = 0.005; // seconds for which the browser itself may hold a request back without a word of it
const WAITS = 0.2; // seconds from which a request that is not answered is drawn
const SPOKEN = 10; // seconds between two sentences for a screen reader
const ways = Object.keys(WAYS);

const probe = new Probe(STEP);
const live = new Live("/live/events", ["statistics", "job", "topic", "gap", "reset"]);
const samples = new Samples(SPAN, STEP);
const lags = [];
const calls = new Calls(byId("ways"));
const results = new Results(byId("results").tBodies[0], ways);
const chart = new Chart(byId("chart"), SPAN);
const rows = new Rows(byId("rows"), byId("rows-desc"), SPAN);
new JobCard(byId("job"), live);
new TopicCard(byId("topic"), live, "news");
new QueueCard(byId("queue"), live, "parcels");
for (const place of document.querySelectorAll("[data-curl]")) place.append(curl(place.dataset.curl, "the figures, each second"));

probe.addEventListener("answer", ({ detail: { sent, at, took, queued, process } }) => {
  byId("chart").dataset.process = process;
  if (queued !== null) {
    write(byId("queued"), queued > QUEUED ? `Your browser held one back for ${duration(queued)}; that is left out.` : `Waited in your browser: ${duration(queued)}.`);
  }
  const running = calls.calls.filter(({ began, ended }) => began < at && (ended ?? Infinity) > sent).map(({ way }) => way);
  results.add(running, samples.answered(sent + (queued ?? 0), at, took).map((point) => point.took));
});

const done = new Set();
calls.addEventListener("change", () => {
  for (const call of calls.calls) {
    if (call.ended === null || done.has(call)) continue;
    done.add(call);
    results.ended(call);
  }
});

live.addEventListener("statistics", ({ detail }) => {
  lags.push({ at: now(), took: detail.lag });
  while (lags[0].at < now() - SPAN) lags.shift();
  drawStatistics(detail);
});

byId("save").addEventListener("click", () => (drawMinute(now()), save(results.figures())));

function draw() {
  if (document.hidden) return;
  const time = now();
  const waits = probe.sent !== null && time - probe.sent > WAITS;
  const waiting = waits ? samples.waiting(probe.sent, time) : [];
  if (waits) waiting.push({ at: time, took: time - probe.sent });
  chart.draw(time, [...samples.points, ...waiting], lags, calls.calls.filter(({ ended }) => (ended ?? time) > time - SPAN));
  byId("rows-frame").hidden = !rows.draw(time, calls.calls);
  calls.draw(time);
  write(byId("now"), duration(waiting.at(-1)?.took ?? samples.points.at(-1)?.took));
  drawStatus(time);
}

function drawStatus(time) {
  const silent = time - live.heard;
  const status = byId("status");
  status.dataset.state = silent > SILENCE ? "silent" : "live";
  write(status, silent > SILENCE ? `nothing from the server for ${silent.toFixed(1)} s` : "live, each second");
}

let spoken = -Infinity;
function drawFigures() {
  if (document.hidden) return;
  const time = now();
  const age = probe.sent === null ? 0 : time - probe.sent;
  const worst = Math.max(samples.between(time - SPAN, time).at(-1) ?? 0, age > WAITS ? age : 0);
  write(byId("worst"), duration(worst || null));
  results.draw();
  if (byId("minute").open) drawMinute(time);
  const sentence = `Now ${byId("now").textContent}, worst ${duration(worst)} in the last minute.`;
  write(byId("chart-desc"), `The last minute, from 0.5 milliseconds to 10 seconds on a logarithmic scale. ${sentence}`);
  if (time - spoken >= SPOKEN) {
    spoken = time;
    write(byId("spoken"), sentence);
  }
}

function drawMinute(time) {
  const parts = [0, 10, 20, 30, 40, 50].map((ago) => {
    const [from, to] = [time - ago - 10, time - ago];
    const sorted = samples.between(from, to);
    const late = lags.filter(({ at }) => at >= from && at <= to).map(({ took }) => took);
    return [`${ago} to ${ago + 10}`, ...[quantile(sorted, 0.5), quantile(sorted, 1), late.length ? Math.max(...late) : null].map(duration)];
  });
  writeRows(byId("minute").querySelector("tbody"), parts);
}

function follow() {
  if (document.hidden) {
    probe.stop();
    live.close();
  } else if (!live.isOpen) {
    live.heard = now();
    probe.start();
    live.open();
  }
}

const still = matchMedia("(prefers-reduced-motion: reduce)");
let drawnAt = -Infinity;
function turn(at) {
  if (!still.matches || at - drawnAt >= 500) {
    drawnAt = at;
    draw();
  }
  requestAnimationFrame(turn);
}

document.addEventListener("visibilitychange", follow);
follow();
setInterval(drawFigures, 250);
byId("minute").addEventListener("toggle", drawFigures);
requestAnimationFrame(turn);
