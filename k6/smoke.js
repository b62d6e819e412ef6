// A minute for CI and after each deployment: every documented endpoint, and the refusals with their codes.
// BUY=no leaves the stock alone, for a shop that sells to real people.
import exec from "k6/execution";
import { sleep } from "k6";
import { checkOrder, followUp, order, orderByForm } from "./lib/buying.js";
import { call } from "./lib/client.js";
import { codeOf, dataOf } from "./lib/contract.js";
import { begin, end, look } from "./lib/run.js";
import { shoppersOf, plan, steadily } from "./lib/scenario.js";
import { byProfile, settings } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";
import { held } from "./lib/verdict.js";
import { checkStatus, lookAtPanel, poll, visit, watch } from "./lib/viewing.js";

const BANNER_MS = 2000;
const READY_SECONDS = 5;
const pace = (perSecond, seconds) => steadily(perSecond, seconds, { lasts: 4 });
const visitors = byProfile({ smoke: pace(0.5, 55), quick: pace(1, 8), load: pace(5, 115), stress: pace(20, 300) });
const shoppers = settings.buys ? shoppersOf(visitors) : 0;
export const options = plan({ visitors }, { shoppers });
export const setup = () => begin({ phase: settings.buys ? "active" : "any", shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "smoke");

export default async function (run) {
  call("health", "GET", "/healthz");
  becomesReady();
  readAll(run);
  visit(run, null);
  poll(run, null);
  signInAndOut();
  refusals(run);
  const viewer = watch(run, null);
  if (settings.buys) buy(run);
  await new Promise((resolve) => setTimeout(resolve, BANNER_MS));
  viewer.leave();
}

// A sale that was published this moment may not be loaded yet.
function becomesReady() {
  for (let second = 0; second < READY_SECONDS && look("/readyz").status !== 200; second += 1) sleep(1);
  call("health", "GET", "/readyz");
}

function readAll(run) {
  const path = `/api/products/${run.sku}`;
  is("products", call("products", "GET", "/api/products"), 200);
  is("product", call("product", "GET", path), 200);
  is("stock", call("stock", "GET", `${path}/stock`), 200);
  const status = call("status", "GET", `${path}/sale-status`);
  if (is("status", status, 200)) checkStatus(run, dataOf(status));
  is("/api/v1", call("product", "GET", `/api/v1/products/${run.sku}`), 200);
  is("an unknown sku", call("product", "GET", "/api/products/no-such-sku"), 404, "NOT_FOUND");
}

function signInAndOut() {
  is("signing in", call("login", "POST", "/api/auth/login", null, { identifier: "k6 smoke" }), 200);
  is("a name that is none", call("login", "POST", "/api/auth/login", null, { identifier: "" }), 400, "VALIDATION_ERROR");
  is("signing out", call("logout", "POST", "/api/auth/logout", null, {}), 200);
}

function refusals(run) {
  is("an order of nobody", call("order", "POST", "/api/orders", null, { sku: run.sku }), 401, "UNAUTHORIZED");
  is("nobody's orders", call("orders", "GET", "/api/orders"), 401, "UNAUTHORIZED");
  is("no words", call("order", "POST", "/api/orders", null, {}), 400, "VALIDATION_ERROR");
}

function buy(run) {
  const index = exec.scenario.iterationInTest;
  const shopper = shopperAt(run, index);
  if (!shopper) return;
  const key = `${shopper.name}-smoke`;
  const answer = index % 3 === 2 ? orderByForm(run, shopper, key) : order(run, shopper, { key });
  followUp(run, shopper, answer);
  if (!shopper.order) return;
  if (index % 3 !== 2) order(run, shopper, { key });
  order(run, shopper, { expects: ["LIMIT_EXCEEDED", "OUT_OF_STOCK"] });
  checkOrder(run, shopper);
  is("one's own order", call("own_order", "GET", `/api/orders/${run.sku}`, shopper), 200);
  lookAtPanel(run, shopper);
}

// An answer that has to be this one.
function is(what, response, status, code = null) {
  const found = response.status === status && codeOf(response) === code;
  return held("documented", found, () => `${what}: ${response.status} ${codeOf(response)} instead of ${status} ${code || ""}`);
}
