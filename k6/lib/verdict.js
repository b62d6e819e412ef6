// What a run is judged by. Metrics of k6, so that its thresholds set the exit code.
import { Counter, Gauge, Rate, Trend } from "k6/metrics";
import { ORDER_ANSWERS } from "./contract.js";
import { settings } from "./settings.js";

// Guaranteed, at any load: one exception is a failure.
// Virtual users share nothing, but a counter takes negative numbers: `balance` is what one side adds and the other takes away,
// so that the sum over all of them is held against a limit that nobody knew when the run began.
export const PROMISES = {
  no_5xx: { title: "No answer is a server error" },
  documented: { title: "Every answer is one of the documented ones" },
  within_stock: { title: "Confirmed units never exceed the stock", balance: "units confirmed above the stock" },
  within_limit: { title: "No shopper holds more units than the limit" },
  readable: { title: "Each confirmed order can be read again, the same" },
  same_order: { title: "A retry gets the same order" },
  settled: { title: "A pending order becomes final" },
  truly_out: { title: "Out of stock is said only when nothing is left" },
  truthful: { title: "Phase and stock on show are possible, and end up true" },
  counted: { title: "The shop counts every confirmed unit as sold", balance: "confirmed units that the shop doesn't count" },
  explained: { title: "Every unit the shop counts as sold is accounted for", balance: "units sold to nobody of this run" },
};

// Best effort, as error budgets: this share must be met. Under `stress` they are shown, not held.
export const BUDGETS = {
  answered: { title: "Requests are answered at all", share: 0.999 },
  taken: { title: "Purchases are not turned away with 503", share: 0.99 },
  order_in_time: { title: `A purchase is answered within ${settings.orderMs} ms`, share: 0.99 },
  read_in_time: { title: `Status, product and own orders within ${settings.readMs} ms`, share: 0.99 },
  page_in_time: { title: `Page, panel and files within ${settings.pageMs} ms`, share: 0.99 },
  socket_alive: { title: "Websockets open, show a banner and stay", share: 0.99 },
};

// Whether the run could show anything.
export const FAIRNESS = {
  expected: { title: "The sale stayed as this scenario needs it" },
  sold: { title: "Somebody bought", least: 1 },
  dropped_iterations: { title: "The generator kept its pace (shoppers it could not send)" },
};

const DETAILS = 1; // of each kind and virtual user: enough to see what it is about
const shown = {};

const rates = {};
for (const name of [...Object.keys(PROMISES).filter((each) => !PROMISES[each].balance), ...Object.keys(BUDGETS), "expected"]) {
  rates[name] = new Rate(name);
}
const balances = {};
for (const name of Object.keys(PROMISES).filter((each) => PROMISES[each].balance)) balances[name] = new Counter(name);
export const sold = new Counter("sold");

export const TRENDS = {
  order_ms: "purchase",
  read_ms: "status, product, own orders",
  page_ms: "page, panel, files",
  sign_in_ms: "sign-in",
  socket_ms: "websocket until its first banner",
  news_ms: "opening second until seen on the banner",
};
const trends = Object.fromEntries(Object.keys(TRENDS).map((name) => [name, new Trend(name, true)]));
export const took = (name, milliseconds) => trends[name].add(milliseconds);

// k6 takes letters, digits and underscores in names.
export const answerMetric = (label) => `answer_${label.replace(/[^A-Za-z0-9]/g, "_")}`;
const answers = Object.fromEntries(ORDER_ANSWERS.map((label) => [label, new Counter(answerMetric(label))]));
export const countAnswer = (label) => answers[label].add(1);
export const STATUSES = ["200", "201", "202", "303", "304", "4xx", "429", "5xx", "no answer"];
const statuses = Object.fromEntries(STATUSES.map((label) => [label, new Counter(answerMetric(`status ${label}`))]));
export function countStatus(status) {
  const exact = String(status);
  statuses[STATUSES.includes(exact) ? exact : status === 0 ? "no answer" : status >= 500 ? "5xx" : "4xx"].add(1);
}
export const banners = new Counter("banners");

// The sale before and after, for the summary.
const gauges = Object.fromEntries(["sale_total", "sale_before", "sale_after"].map((name) => [name, new Gauge(name)]));
export const noteSale = (name, units) => gauges[name].add(units);

// One observation of a promise, a budget or `expected`. The first exceptions are told on the console, with `detail()`.
export function held(name, isTrue, detail) {
  rates[name].add(isTrue);
  if (!isTrue && detail) tell(name, detail);
  return isTrue;
}

export function tell(name, detail) {
  shown[name] = (shown[name] || 0) + 1;
  if (shown[name] <= DETAILS) console.error(`${name}: ${typeof detail === "function" ? detail() : detail}`);
}

// Add to one side of a balance.
export const weigh = (name, units) => balances[name].add(units);

// k6's thresholds for a scenario; `sells`: it is there to buy; `iterations`: as many as it means to start.
export function thresholds({ sells = false, iterations = 0 } = {}) {
  const found = { expected: ["rate==1"] };
  for (const [name, { balance }] of Object.entries(PROMISES)) found[name] = [balance ? "count<=0" : "rate==1"];
  for (const [name, { share }] of Object.entries(BUDGETS)) {
    found[name] = [settings.profile === "stress" ? "rate>=0" : `rate>=${share}`];
  }
  if (sells) found.sold = [`count>=${FAIRNESS.sold.least}`];
  if (iterations && settings.profile !== "stress") found.dropped_iterations = [`count<=${Math.floor(iterations * settings.dropped)}`];
  return found;
}
