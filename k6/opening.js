// Everybody waits with the page and a websocket open, and clicks in the opening second: half by the form, half by the API.
import exec from "k6/execution";
import { sleep } from "k6";
import { followUp, order, orderByForm } from "./lib/buying.js";
import { begin, end } from "./lib/run.js";
import { everybody, shoppersOf, plan } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { shopperAt } from "./lib/shoppers.js";
import { report } from "./lib/summary.js";
import { held, took } from "./lib/verdict.js";
import { visit, watch } from "./lib/viewing.js";

const WITHIN_MS = 1000; // of the opening: some click early and have to click again
const EARLY_MS = 100;
const AGAIN_SECONDS = 0.2;
const CLICKS = 50;
const STAY_MS = 4000; // after the answer, to see how it ends
const crowd = everybody(byProfile({ smoke: 10, quick: 60, load: 300, stress: 1500 }), 900);
const shoppers = shoppersOf(crowd);
export const options = plan({ crowd }, { shoppers });
export const setup = () => begin({ phase: "upcoming", shoppers });
export const teardown = end;
export const handleSummary = (data) => report(data, "opening");

export default async function (run) {
  const index = exec.scenario.iterationInTest;
  // People arrive all through the wait; the last of them have two seconds left.
  sleep((Math.max(0, run.opensAt - Date.now() - 2000) / 1000) * Math.random());
  const shopper = shopperAt(run, index);
  if (!shopper) return;
  visit(run, shopper);
  const viewer = watch(run, shopper);
  await until(run.opensAt - EARLY_MS + Math.random() * WITHIN_MS);
  const answer = buy(run, shopper, index % 2 === 0);
  // What follows is not part of the stampede: people look at their answer first.
  await until(Date.now() + STAY_MS * (0.25 + Math.random() / 2));
  followUp(run, shopper, answer);
  await until(Date.now() + STAY_MS / 2);
  const opened = viewer.seen.active || viewer.seen.sold_out;
  if (opened) took("news_ms", Math.max(0, opened - run.opensAt));
  held("truthful", !viewer.last || viewer.last.phase !== "upcoming", "a banner still said that the sale had not begun, seconds after it had");
  viewer.leave();
}

function buy(run, shopper, byForm) {
  const key = `${shopper.name}-${run.id}`;
  for (let click = 1; click <= CLICKS; click += 1) {
    const isEarly = Date.now() < run.opensAt + WITHIN_MS;
    const expects = ["OUT_OF_STOCK", ...(isEarly ? ["FLASH_SALE_NOT_STARTED", "400 to a form"] : [])];
    const answer = byForm ? orderByForm(run, shopper, key, expects) : order(run, shopper, { key, expects });
    if (answer !== "FLASH_SALE_NOT_STARTED" && answer !== "400 to a form") return answer;
    sleep(AGAIN_SECONDS);
  }
  return null;
}

const until = (at) => new Promise((resolve) => setTimeout(resolve, Math.max(0, at - Date.now())));
