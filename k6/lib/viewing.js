// What a browser does with a sale's page: the page and its files, the panel, and the banner over a websocket.
import { WebSocket } from "k6/experimental/websockets";
import { call, callTogether, origin } from "./client.js";
import { settings } from "./settings.js";
import { cookieHeader } from "./shoppers.js";
import { banners, held, took } from "./verdict.js";

const FILE = /(?:href|src)="(\/[^"]+\.(?:css|js|svg|png|jpg|webp|woff2)[^"]*)"/g;
const GZIP = { headers: { "Accept-Encoding": "gzip" } };
const PHASES = ["upcoming", "active", "paused", "sold_out", "ended", "not_ready"];
const [PHASE, AVAILABLE, TOTAL] = [/data-phase="(\w+)"/, /data-available="(\d+)"/, /data-total="(\d+)"/];
const FIRST_BANNER_MS = 10_000;
const BEAT = "<!--beat-->"; // nothing new: sales/hub.py

// A first visit: the page, every file it names, and the viewer's own panel.
export function visit(run, shopper) {
  const page = call("page", "GET", `/sales/${run.sku}/`, shopper, undefined, GZIP);
  if (page.status !== 200) return null;
  const files = [...new Set(Array.from(String(page.body).matchAll(FILE), ([, path]) => path))];
  callTogether(files.map((path) => ["asset", "GET", path, shopper, undefined, GZIP]));
  lookAtPanel(run, shopper);
  checkBanner(run, String(page.body));
  return page.headers.Etag;
}

// A later visit, with what the browser has kept: 304 while nothing has changed.
export function visitAgain(run, shopper, etag) {
  const headers = { ...GZIP.headers, ...(etag && { "If-None-Match": etag }) };
  const page = call("page", "GET", `/sales/${run.sku}/`, shopper, undefined, { headers });
  lookAtPanel(run, shopper);
  return page.headers.Etag || etag;
}

export function lookAtPanel(run, shopper) {
  return call("panel", "GET", `/sales/${run.sku}/me`, shopper, undefined, { headers: { ...GZIP.headers, "HX-Request": "true" } });
}

// The poll of a browser without a websocket.
export function poll(run, shopper) {
  const response = call("banner", "GET", `/sales/${run.sku}/banner`, shopper, undefined, { headers: { ...GZIP.headers, "HX-Request": "true" } });
  if (response.status === 200) checkBanner(run, String(response.body));
}

// The banner over a websocket. Gives the viewer: `last` is the newest banner, `seen[phase]` when it first showed a phase.
// No timer here is ever cleared: k6 1.1 then fires the next one at the moment at which the cleared one was due.
export function watch(run, shopper) {
  const headers = { Origin: origin, ...(shopper && { Cookie: cookieHeader(shopper) }) };
  const socket = new WebSocket(`${settings.url.replace(/^http/, "ws")}/ws/sales/${run.sku}/?beat=1`, null, { headers });
  const viewer = { last: null, seen: {}, failure: null, isLeaving: false, leave: null };
  const since = Date.now();
  socket.onmessage = ({ data, timestamp }) => {
    if (data === BEAT) return;
    const at = timestamp || Date.now();
    if (!viewer.last) {
      took("socket_ms", at - since);
      if (at - since > FIRST_BANNER_MS) viewer.failure = `its first banner came after ${Math.round(at - since)} ms`;
    }
    banners.add(1);
    viewer.last = checkBanner(run, data);
    if (viewer.last) viewer.seen[viewer.last.phase] = viewer.seen[viewer.last.phase] || at;
  };
  socket.onerror = (event) => {
    viewer.failure = viewer.failure || event.error || "it failed";
  };
  socket.onclose = ({ code }) => {
    if (!viewer.isLeaving) viewer.failure = viewer.failure || `closed with ${code}`;
  };
  viewer.leave = () => {
    viewer.isLeaving = true;
    held("socket_alive", !viewer.failure && viewer.last !== null, () => `websocket: ${viewer.failure || "no banner came"}`);
    socket.close();
  };
  return viewer;
}

// Phase and stock as a banner shows them; null, and a broken promise, when they make no sense.
export function checkBanner(run, html) {
  const phase = PHASE.exec(html)?.[1];
  const [available, total] = [AVAILABLE, TOTAL].map((pattern) => Number(pattern.exec(html)?.[1]));
  const makesSense = PHASES.includes(phase) && available >= 0 && available <= total;
  held("truthful", makesSense, () => `a banner of '${run.sku}' showed ${phase}, ${available} of ${total}`);
  return makesSense ? { phase, available, total } : null;
}

// The same for the status of the API.
export function checkStatus(run, sale) {
  const { phase, availableStock: available, totalStock: total } = sale;
  held("truthful", PHASES.includes(phase) && available >= 0 && available <= total, () => `the status of '${run.sku}' was ${phase}, ${available} of ${total}`);
}
