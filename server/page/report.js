// What was measured, as one page of HTML that needs no other file.

import { byId, element } from "./dom.js";

const KEPT = ["chart", "rows-frame", "results", "minute", "strip", "queues"];

/** Save it. @param figures what is in it as numbers, too. */
export async function save(figures) {
  const style = await (await fetch("/page/style.css")).text();
  const at = new Date();
  const parts = KEPT.map((id) => {
    const copy = byId(id).cloneNode(true);
    if (copy.matches("details")) copy.open = true;
    copy.querySelectorAll("h3").forEach((each) => each.replaceWith(element("h2", {}, each.textContent)));
    copy.querySelectorAll("[tabindex]").forEach((each) => each.removeAttribute("tabindex"));
    return `<section class="card">${copy.outerHTML}</section>`;
  });
  const data = JSON.stringify({ measured: at.toISOString(), server: location.origin, seconds: figures }).replaceAll("<", "\\u003c");
  const html = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Nowait, measured ${at.toLocaleString("en")}</title><style>${style}</style></head>
<body><header><h1>What not waiting was worth</h1><p class="note">Measured by a browser, ${at.toUTCString()},
from ${location.origin}. All times from the request to the first byte.</p></header><main>${parts.join("\n")}</main>
<script type="application/json" id="figures">${data}</script></body></html>`;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([html], { type: "text/html" }));
  link.download = `nowait-${at.toISOString().slice(0, 19).replaceAll(":", "")}.html`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
