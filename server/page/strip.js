// The figures of the server itself, as it sends them each second.

import { byId, element, write, writeRows } from "./dom.js";
import { duration } from "./format.js";

const LATE = 0.05; // seconds of lag from which it is no good sign

export function drawStatistics({ lag, in_flight, broker, process, processes, queues }) {
  write(byId("lag"), duration(lag));
  byId("lag").toggleAttribute("data-alarm", lag > LATE);
  write(byId("in-flight"), String(in_flight));
  write(byId("broker"), broker);
  byId("broker").toggleAttribute("data-alarm", broker !== "connected");
  write(byId("process"), processes > 1 ? `${process}, of ${processes}` : String(process));
  const body = byId("queues").tBodies[0];
  if (queues === null) {
    body.replaceChildren(element("tr", {}, element("td", { colspan: 3 }, "The broker does not answer.")));
    return;
  }
  writeRows(body, queues.map(({ name, waiting, workers }) => [name, waiting ?? "not there", workers ?? "–"].map(String)));
}
