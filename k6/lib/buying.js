// A purchase as a shopper lives it: the order, its answer, and whether the answer was true.
import { sleep } from "k6";
import { call, callTogether, FORM, formBody } from "./client.js";
import { codeOf, dataOf, orderAnswer } from "./contract.js";
import { settings } from "./settings.js";
import { held, sold, tell, weigh } from "./verdict.js";

const SETTLE_SECONDS = 0.5;
const BOARD_SECONDS = 3; // every process looks at a busy sale several times a second, at a quiet one each second
const STRESS_SAMPLE = 0.05;
const LIVE = ["completed", "pending"];

// Order one unit. Gives what it was answered with, as one of contract.js' ORDER_ANSWERS.
// `expects`: refusals that are part of the scenario. `key`: the idempotency key. `timeout`: when to hang up.
export function order(run, shopper, { expects = ["OUT_OF_STOCK"], key, timeout } = {}) {
  const also = { headers: key ? { "Idempotency-Key": key } : {}, ...(timeout && { timeout }) };
  mayTake(shopper);
  return understood(run, shopper, "order", call("order", "POST", "/api/orders", shopper, { sku: run.sku }, also), expects, key);
}

// The same order twice in the same instant, under one key.
export function orderTwice(run, shopper, { expects = ["OUT_OF_STOCK"], key, timeout } = {}) {
  const also = { headers: { "Idempotency-Key": key }, ...(timeout && { timeout }) };
  const one = ["order", "POST", "/api/orders", shopper, { sku: run.sku }, also];
  mayTake(shopper);
  return callTogether([one, one]).map((response) => understood(run, shopper, "order", response, expects, key));
}

// The shop's own form, as its page sends it.
export function orderByForm(run, shopper, attempt, expects = ["OUT_OF_STOCK"]) {
  mayTake(shopper);
  const body = formBody({ attempt, quantity: 1, price: run.price, currency: run.currency });
  return understood(run, shopper, "buy_form", call("buy_form", "POST", `/sales/${run.sku}/orders`, shopper, body, FORM), expects);
}

// A purchase with all that follows from it: a pending one is waited for, a confirmed one read again.
export function followUp(run, shopper, answer) {
  if (answer === "pending") settle(run, shopper);
  if (answer !== "OUT_OF_STOCK" && shopper.order) checkOrder(run, shopper);
  else checkRefusals(run, shopper);
}

// Each confirmed order can be read again, the same, and there are no more of them than the limit allows.
export function checkOrder(run, shopper) {
  checkRefusals(run, shopper);
  const since = Date.now();
  do {
    const orders = ownOrders(run, shopper);
    if (orders) {
      const again = orders.find((each) => each._id === shopper.order._id);
      const isSame = again !== undefined && again.status === "completed" && String(again.units) === String(shopper.order.units);
      held("readable", isSame, () => `${shopper.name} was told ${shopper.order._id} with units ${shopper.order.units}, and reads ${JSON.stringify(again || null)}`);
      const units = orders.reduce((sum, each) => sum + each.quantity, 0);
      held("within_limit", units <= run.limit, () => `${shopper.name} holds ${units} units; the limit is ${run.limit}`);
      return;
    }
    sleep(SETTLE_SECONDS);
  } while (Date.now() - since < settings.settleMs);
  held("readable", false, () => `${shopper.name}'s orders could not be read`);
}

// The shopper's orders of this sale that hold units; null when the shop doesn't say.
function ownOrders(run, shopper) {
  const orders = dataOf(call("orders", "GET", "/api/orders", shopper));
  return orders && orders.filter((each) => each.productSKU === run.sku && LIVE.includes(each.status));
}

// What the shop says of a shopper whose last answer left it open: confirmed, pending or nothing. Null when it doesn't say.
export function reread(run, shopper) {
  const response = call("own_order", "GET", `/api/orders/${run.sku}`, shopper);
  if (response.status === 404) return "nothing";
  const found = dataOf(response);
  if (!found) return null;
  if (found.status === "completed") confirmed(shopper, found);
  return found.status === "completed" ? "confirmed" : found.status === "pending" ? "pending" : "nothing";
}

// Waits until a reservation is an order, or given up.
function settle(run, shopper) {
  const since = Date.now();
  while (Date.now() - since < settings.settleMs) {
    sleep(SETTLE_SECONDS);
    const state = reread(run, shopper);
    if (state === "confirmed" || state === "nothing") {
      if (state === "nothing") tookNothing(shopper);
      held("settled", true);
      return;
    }
  }
  held("settled", false, () => `${shopper.name}'s order was still pending after ${settings.settleMs / 1000} s`);
}

// Each such answer is held against the stock, but beyond what the shop was built for: there a look for each would be a load
// of its own, and the report says how many were looked into.
function checkRefusals(run, shopper) {
  const told = shopper.toldOut || 0;
  shopper.toldOut = 0;
  if (!told || (settings.profile === "stress" && Math.random() >= STRESS_SAMPLE)) return;
  let left = null;
  for (let second = 0; second <= BOARD_SECONDS; second += 1) {
    const stock = dataOf(call("stock", "GET", `/api/products/${run.sku}/stock`));
    // Raised since: there was nothing left before, perhaps. Nobody can tell any more, and so it is not judged.
    if (stock && stock.totalStock !== run.total) return;
    left = stock ? stock.availableStock : left;
    if (left === 0) break;
    sleep(1);
  }
  if (left === null) return;
  for (let answer = 0; answer < told; answer += 1) {
    held("truly_out", left === 0, () => `refused as OUT_OF_STOCK while ${left} units of '${run.sku}' were left`);
  }
}

function understood(run, shopper, endpoint, response, expects, key) {
  const answer = orderAnswer(endpoint, response);
  if (response.status === 200 || response.status === 201) {
    const found = endpoint === "order" ? dataOf(response) : null;
    if (found) {
      const first = key && shopper.orderIds[key];
      if (first) held("same_order", first === found._id, () => `${shopper.name} got ${first}, and under the same key ${found._id}`);
      if (key) shopper.orderIds[key] = found._id;
      confirmed(shopper, found);
    }
    else if (endpoint === "buy_form") reread(run, shopper); // a page for people: the order itself is in the API
    held("expected", true);
  } else if (response.status >= 400 && response.status < 500) {
    const code = endpoint === "order" ? codeOf(response) : answer;
    held("expected", expects.includes(code), () => `refused as ${code}${ADVICE[code] || ""}`);
    if (code !== "LIMIT_EXCEEDED") tookNothing(shopper);
    if (code === "OUT_OF_STOCK") shopper.toldOut = (shopper.toldOut || 0) + 1;
  }
  return answer;
}

const ADVICE = {
  PRICE_CHANGED: ": somebody has changed the price while the run was under way",
  SALE_PAUSED: ": somebody has paused the sale",
  FLASH_SALE_ENDED: ": the window closed while the run was under way",
  FLASH_SALE_NOT_STARTED: ": the window was moved while the run was under way",
  LIMIT_EXCEEDED: " at the first try: these shoppers have bought before; mint others, with another --prefix",
  RATE_LIMITED: ": the shop's limiter takes the generator for one visitor; turn it off for it, or send from more addresses",
  UNAUTHORIZED: ": the shop does not accept this shopper",
};

// The balances of verdict.js, one shopper at a time. A unit may be taken from the moment an order is on its way.
function mayTake(shopper) {
  if (!shopper.mayHold) weigh("explained", -1);
  shopper.mayHold = true;
}

function tookNothing(shopper) {
  if (shopper.mayHold && !shopper.order) {
    weigh("explained", 1);
    shopper.mayHold = false;
  }
}

function confirmed(shopper, found) {
  if (shopper.order && shopper.order._id === found._id) return;
  if (shopper.order) tell("within_limit", () => `${shopper.name} was confirmed ${shopper.order._id} and ${found._id}`);
  if (shopper.order || !shopper.mayHold) weigh("explained", -found.quantity);
  shopper.mayHold = true;
  shopper.order = found;
  weigh("within_stock", found.quantity);
  weigh("counted", found.quantity);
  sold.add(found.quantity);
}
