// Impatient shoppers: they double-click, hang up before the answer, and try again with the same key until they know.
import exec from "k6/execution";
import { sleep } from "k6";
import { checkOrder, followUp, order, orderTwice, reread } from "./lib/buying.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";

const PATIENCE_MS = [2, 4, 8, 15, 30, 200]; // many of them hang up on their first answers
const DOUBLE_CLICKS = 6;
const LAST_TRIES = 5;
const crowd = byProfile({
  smoke: steadily(1, 60),
  quick: steadily(20, 10),
  load: steadily(20, 60),
  stress: rising([[10, 30], [60, 150], [20, 150]]),
});
const shoppers = shoppersOf(crowd);
export const options = plan({ crowd }, { shoppers });
export const setup = () => begin({ shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "retry-storm");

export default function (run) {
  const shopper = shopperAt(run, exec.scenario.iterationInTest);
  if (!shopper) return;
  const key = `${shopper.name}-${run.id}`;
  for (let click = 0; click < DOUBLE_CLICKS; click += 1) {
    const patience = PATIENCE_MS[Math.floor(Math.random() * PATIENCE_MS.length)];
    orderTwice(run, shopper, { key, timeout: `${patience}ms` });
    sleep(Math.random() * 0.05);
  }
  let answer = "no answer";
  for (let attempt = 0; attempt < LAST_TRIES && (answer === "no answer" || answer === "5xx"); attempt += 1) {
    answer = order(run, shopper, { key });
  }
  followUp(run, shopper, answer);
  // The same wish under another key is a second order, which the limit forbids.
  if (shopper.order) {
    order(run, shopper, { key: `${key}-again`, expects: ["LIMIT_EXCEEDED", "OUT_OF_STOCK"] });
    checkOrder(run, shopper);
  } else reread(run, shopper);
}
