// A new shopper each time: buys, reads the order again, and now and then tries for a second one.
import exec from "k6/execution";
import { checkOrder, followUp, order } from "./lib/buying.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";

const buyers = byProfile({
  smoke: steadily(1, 60),
  quick: steadily(50, 10),
  load: steadily(120, 60),
  stress: rising([[10, 100], [60, 800], [20, 800]]),
});
const shoppers = shoppersOf(buyers);
export const options = plan({ buyers }, { shoppers });
export const setup = () => begin({ shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "create-order");

export default function (run) {
  const index = exec.scenario.iterationInTest;
  const shopper = shopperAt(run, index);
  if (!shopper) return;
  followUp(run, shopper, order(run, shopper));
  if (shopper.order && index % 5 === 0) {
    order(run, shopper, { expects: ["LIMIT_EXCEEDED", "OUT_OF_STOCK"] });
    checkOrder(run, shopper);
  }
}
