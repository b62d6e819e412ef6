// A moderate load for a long time: what leaks, drifts or fills up shows here. Ten minutes in `load`, two hours in `stress`.
import exec from "k6/execution";
import { followUp, order } from "./lib/buying.js";
import { call } from "./lib/client.js";
import { dataOf } from "./lib/contract.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";
import { checkStatus, poll, visit } from "./lib/viewing.js";

const paced = (perSecond, seconds) => ({
  buyers: steadily(perSecond, seconds, { exec: "buy" }),
  readers: steadily(perSecond * 5, seconds, { exec: "read" }),
  visitors: steadily(perSecond / 2, seconds, { exec: "look" }),
});
const everyone = byProfile({ smoke: paced(1, 60), quick: paced(10, 15), load: paced(20, 600), stress: paced(50, 7200) });
const shoppers = shoppersOf(everyone.buyers);
export const options = plan(everyone, { shoppers });
export const setup = () => begin({ shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "soak");

export function buy(run) {
  const shopper = shopperAt(run, exec.scenario.iterationInTest);
  if (shopper) followUp(run, shopper, order(run, shopper));
}

export function read(run) {
  const sale = dataOf(call("status", "GET", `/api/products/${run.sku}/sale-status`));
  if (sale) checkStatus(run, sale);
}

export function look(run) {
  visit(run, null);
  poll(run, null);
}
