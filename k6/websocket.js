// Many viewers of one banner, each over a websocket of its own; a few people buy, so that there is news.
import exec from "k6/execution";
import { followUp, order } from "./lib/buying.js";
import { begin, end, saleStatus } from "./lib/run.js";
import { everybody, shoppersOf, plan, steadily } from "./lib/scenario.js";
import { byProfile, lasting, scaled, settings } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";
import { held } from "./lib/verdict.js";
import { watch } from "./lib/viewing.js";

const SOCKETS_EACH = 50; // a virtual user can hold many: sockets cost little, virtual users much
const ARRIVAL_MS = 2000;
const QUIET_MS = 2500; // without news before the end, so that the last banner can be held against the API
const [viewers, planned, perSecond] = byProfile({ smoke: [100, 55, 1], quick: [300, 10, 5], load: [1000, 60, 5], stress: [5000, 60, 20] });
const seconds = lasting(planned);
const groups = Math.ceil(scaled(viewers) / SOCKETS_EACH);
const buyers = steadily(perSecond, planned, { exec: "buy", startTime: `${ARRIVAL_MS / 1000}s` });
const watching = { ...everybody(1, seconds * 3 + 60, { exec: "view" }), vus: groups };
const shoppers = settings.buys ? shoppersOf(buyers) : 0;
export const options = plan(settings.buys ? { watching, buyers } : { watching }, { shoppers });
export const setup = () => begin({ phase: settings.buys ? "active" : "any", shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "websocket");

export async function view(run) {
  const count = Math.min(SOCKETS_EACH, scaled(viewers) - exec.scenario.iterationInTest * SOCKETS_EACH);
  const mine = [];
  for (let place = 0; place < count; place += 1) {
    mine.push(watch(run, null));
    await pause(ARRIVAL_MS / count);
  }
  await pause(seconds * 1000 + QUIET_MS);
  const sale = saleStatus(run.sku);
  for (const viewer of mine) {
    if (sale && viewer.last && settings.isAlone) {
      held("truthful", viewer.last.available === sale.availableStock, () => `a banner showed ${viewer.last.available} units, the API ${sale.availableStock}`);
    }
    viewer.leave();
  }
}

export function buy(run) {
  const shopper = shopperAt(run, exec.scenario.iterationInTest);
  if (shopper) followUp(run, shopper, order(run, shopper));
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
