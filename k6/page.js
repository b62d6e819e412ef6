// The HTML page as a browser fetches it: page, files and panel; then polls and a reload with what it has kept.
import { sleep } from "k6";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { report } from "./lib/summary.js";
import { poll, visit, visitAgain } from "./lib/viewing.js";

const visitors = byProfile({
  smoke: steadily(1, 60, { lasts: 3 }),
  quick: steadily(20, 10, { lasts: 3 }),
  load: steadily(30, 60, { lasts: 3 }),
  stress: rising([[10, 30], [60, 200], [20, 200]], { lasts: 3 }),
});
export const options = plan({ visitors });
export const setup = () => begin({ phase: "any" });
export const teardown = end;
export const handleSummary = (data) => report(data, "page");

export default function (run) {
  const etag = visit(run, null);
  for (let look = 0; look < 2; look += 1) {
    sleep(0.5 + Math.random());
    poll(run, null);
  }
  visitAgain(run, null, etag);
}
