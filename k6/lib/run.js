// Before and after: is there anything to test, and does the shop's own count agree with what its shoppers saw?
import exec from "k6/execution";
import http from "k6/http";
import { sleep } from "k6";
import { dataOf } from "./contract.js";
import { problems, settings } from "./settings.js";
import { shopperAt, tooFew } from "./shoppers.js";
import { held, noteSale, weigh } from "./verdict.js";

const CALM_SECONDS = 30; // for pending orders to become final and every process to show the same
const PATIENCE_SECONDS = 5;
const LEAST_TO_OPENING_MS = 3000;
const MOST_TO_OPENING_MS = 600_000;

// Looks at the target and gives what every virtual user has to know. Ends the run with a sentence where nothing could be shown.
// `phase`: what the sale must be: "active", "upcoming", "open soon" (either of them) or "any".
// `shoppers`: how many will buy at most; without them no units are needed.
export function begin({ phase = "active", shoppers = 0 } = {}) {
  if (problems.length) stop(problems.join(" "));
  const alive = look("/healthz");
  if (alive.status === 0) stop(`Nothing answers at ${settings.url} (${alive.error}). Is the shop running, and is API_URL right?`);
  if (alive.status !== 200) stop(`${settings.url}/healthz answers ${alive.status}: that is no shop in working order.`);
  const sku = settings.sku || onlySku();
  const sale = known(sku);
  if (!sale) stop(`${settings.url} has no published sale '${sku}'; it has ${quoted(skus()) || "none at all"}.`);
  const run = {
    id: `${Date.now().toString(36)}${Math.floor(Math.random() * 1e6).toString(36)}`,
    sku,
    total: sale.totalStock,
    available: sale.availableStock,
    limit: sale.limitPerUser,
    price: sale.price,
    currency: sale.currency,
    opensAt: Date.parse(sale.startDate) - sale.aheadMs, // by this machine's clock
    closesAt: Date.parse(sale.endDate) - sale.aheadMs,
    buys: shoppers > 0,
  };
  refusePhase(phase, sale, run);
  if (settings.units && settings.units < run.total) stop(`UNITS says that '${sku}' has at most ${settings.units} units, the shop says ${run.total}.`);
  if (run.buys) {
    if (run.available < 1) stop(`'${sku}' has no units left (${run.total} sold): nothing could be bought. Use a fresh sale.`);
    const few = tooFew(shoppers);
    if (few) stop(few);
    refuseStrangers(run);
    noteSale("sale_total", run.total);
    noteSale("sale_before", run.available);
    weigh("within_stock", -(settings.units ? settings.units - run.total + run.available : run.available));
  }
  return run;
}

// Reads the shop's count until it rests, and holds it against what the virtual users saw.
export function end(run) {
  if (!run || !run.buys) return;
  const sale = atRest(run.sku);
  held("truthful", sale !== null, "the shop's count did not come to rest, or could not be read");
  if (!sale) return;
  noteSale("sale_after", sale.availableStock);
  // A stock that grows by itself is how a shop oversells: who means to raise it says so by UNITS.
  const isSame = settings.units > 0 || sale.totalStock === run.total;
  held("expected", isSame, `the stock went from ${run.total} to ${sale.totalStock} while the run was under way; if you did that, give UNITS`);
  const soldHere = sale.totalStock - sale.availableStock - (run.total - run.available);
  weigh("counted", -soldHere);
  if (settings.isAlone) weigh("explained", soldHere);
}

// The sale's status as the API has it now, with `aheadMs`: how far the shop's clock is ahead of ours. Null: no such sale.
export function saleStatus(sku) {
  const asked = Date.now();
  const response = look(`/api/products/${encodeURIComponent(sku)}/sale-status`);
  const sale = response.status === 200 ? dataOf(response) : null;
  return sale && { ...sale, aheadMs: Date.parse(sale.serverTime) - (asked + Date.now()) / 2 };
}

// A sale that is being loaded may be ready in a moment.
function known(sku) {
  let sale = saleStatus(sku);
  for (let second = 0; second < PATIENCE_SECONDS && sale && sale.phase === "not_ready"; second += 1) {
    sleep(1);
    sale = saleStatus(sku);
  }
  return sale;
}

function atRest(sku) {
  let before = null;
  for (let second = 0; second < CALM_SECONDS; second += 1) {
    sleep(1);
    const sale = saleStatus(sku);
    // Two readings a second apart, the first after every process has had time to look at the stores.
    const isSame = before && sale && before.availableStock === sale.availableStock && before.phase === sale.phase;
    if (isSame && second >= 2 && sale.phase !== "not_ready") return sale;
    before = sale;
  }
  return null;
}

function refusePhase(asked, sale, run) {
  const name = `'${run.sku}'`;
  const inMs = run.opensAt - Date.now();
  if (asked === "any") return;
  if (sale.phase === "not_ready") stop(`${name} is not ready: the shop can't reach its gate, or has not loaded the sale. See ${settings.url}/readyz.`);
  if (sale.phase === "paused") stop(`${name} is paused. Resume it in the admin, then run this again.`);
  if (sale.phase === "ended") stop(`${name} ended at ${sale.endDate}. Give it a window that is still open, or name another SKU.`);
  if (sale.phase === "sold_out") stop(`${name} is sold out: nothing could be bought. Use a fresh sale.`);
  if (asked === "active" && sale.phase === "upcoming") {
    stop(`${name} opens at ${sale.startDate}, in ${Math.ceil(inMs / 1000)} s. This scenario needs an open sale; opening.js and mixed.js wait for one.`);
  }
  if (asked === "upcoming" && (sale.phase !== "upcoming" || inMs < LEAST_TO_OPENING_MS)) {
    stop(`${name} ${sale.phase === "upcoming" ? "is about to open" : "is open already"}: this scenario is about the opening. It needs a sale that opens in some seconds to ten minutes.`);
  }
  if (sale.phase === "upcoming" && inMs > MOST_TO_OPENING_MS) stop(`${name} opens at ${sale.startDate}, which is more than ten minutes away. Start this nearer to it.`);
}

// The first shopper is asked for before anybody else comes: a rejected identity is one sentence, not a thousand failures.
function refuseStrangers(run) {
  const shopper = shopperAt({ ...run, id: `${run.id}-setup` }, 0);
  const answer = shopper ? look("/api/orders", shopper.params) : null;
  if (answer && answer.status === 200) {
    const before = dataOf(answer).filter((order) => order.productSKU === run.sku && order.status !== "released" && order.status !== "cancelled");
    if (before.length) stop(`The first shopper of ${settings.shoppers} has bought '${run.sku}' before: mint others, with another --prefix.`);
    return;
  }
  if (answer && answer.status !== 401) stop(`GET /api/orders answers ${answer.status}: the shop can't say what a shopper has bought.`);
  if (settings.shoppers) stop(`The shop does not accept the cookies in ${settings.shoppers}: mint them with its own SECRET_KEY.`);
  if (settings.identity === "header") stop("The shop does not believe X-User-Id: set TRUST_USER_ID_HEADER there, or use SHOPPERS.");
  stop("Nobody can sign in at POST /api/auth/login. Is the rate limiter on? Then use SHOPPERS, or raise RATE_LIMIT_MAX.");
}

function onlySku() {
  const found = skus();
  if (found.length === 1) return found[0];
  return stop(found.length ? `SKU is missing; ${settings.url} has ${quoted(found)}.` : `${settings.url} has no published sale.`);
}

const skus = () => (dataOf(look("/api/products")) || []).map((product) => product.sku);
const quoted = (names) => names.slice(0, 10).map((name) => `'${name}'`).join(", ");

// Not judged and not counted: these look at the shop, they are not the load.
export const look = (path, params = {}) => http.get(settings.url + path, { timeout: "10s", ...params, tags: { name: "look" } });

function stop(sentence) {
  exec.test.abort(sentence);
}
