// The status that every client asks for again and again, half of them with the ETag of their last answer.
import { call } from "./lib/client.js";
import { dataOf } from "./lib/contract.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { report } from "./lib/summary.js";
import { checkStatus } from "./lib/viewing.js";

const readers = byProfile({
  smoke: steadily(5, 60),
  quick: steadily(200, 10),
  load: steadily(800, 60),
  stress: rising([[10, 400], [60, 3000], [20, 3000]]),
});
export const options = plan({ readers });
export const setup = () => begin({ phase: "any" });
export const teardown = end;
export const handleSummary = (data) => report(data, "sale-status");

let etag;

export default function (run) {
  const headers = etag && Math.random() < 0.5 ? { "If-None-Match": etag } : {};
  const response = call("status", "GET", `/api/products/${run.sku}/sale-status`, null, undefined, { headers });
  etag = response.headers.Etag || etag;
  if (response.status === 200) checkStatus(run, dataOf(response));
}
