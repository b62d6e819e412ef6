// The shape of a real sale, ten minutes in `load`: people gather, storm in, keep coming, and lose interest.
// Each looks at the status, thinks, and orders when the sale is open.
import exec from "k6/execution";
import { sleep } from "k6";
import { followUp, order } from "./lib/buying.js";
import { call } from "./lib/client.js";
import { dataOf } from "./lib/contract.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";
import { checkStatus } from "./lib/viewing.js";

// Anticipation, spike, frenzy, decline: shares of the time and of the highest pace.
const shape = (seconds, peak) =>
  rising([
    [seconds * 0.2, peak * 0.1],
    [seconds * 0.05, peak],
    [seconds * 0.1, peak],
    [seconds * 0.25, peak * 0.6],
    [seconds * 0.4, peak * 0.05],
  ], { lasts: 4 });
const think = () => byProfile({ smoke: 0.5, quick: 0.3, load: 1, stress: 1 }) * (0.5 + 2 * Math.random());
const crowd = byProfile({ smoke: shape(60, 10), quick: shape(15, 60), load: shape(600, 150), stress: shape(300, 600) });
const shoppers = shoppersOf(crowd);
export const options = plan({ crowd }, { shoppers });
export const setup = () => begin({ phase: "open soon", shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "mixed");

export default function (run) {
  const path = `/api/products/${run.sku}/sale-status`;
  let sale = dataOf(call("status", "GET", path));
  for (let look = 0; look < 2 && sale; look += 1) {
    checkStatus(run, sale);
    if (sale.phase === "sold_out" || sale.phase === "ended") return;
    sleep(think());
    if (sale.phase === "active") break;
    sale = dataOf(call("status", "GET", path));
  }
  if (!sale || sale.phase !== "active") return;
  const shopper = shopperAt(run, exec.scenario.iterationInTest);
  if (shopper) followUp(run, shopper, order(run, shopper));
}
