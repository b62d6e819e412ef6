// What a listing or an app loads: the products, one of them, and its stock.
import { call } from "./lib/client.js";
import { dataOf } from "./lib/contract.js";
import { begin, end } from "./lib/run.js";
import { shoppersOf, plan, rising, steadily } from "./lib/scenario.js";
import { byProfile } from "./lib/settings.js";
import { report } from "./lib/summary.js";
import { held } from "./lib/verdict.js";

const readers = byProfile({
  smoke: steadily(2, 60),
  quick: steadily(60, 10),
  load: steadily(150, 60),
  stress: rising([[10, 150], [60, 800], [20, 800]]),
});
export const options = plan({ readers });
export const setup = () => begin({ phase: "any" });
export const teardown = end;
export const handleSummary = (data) => report(data, "product");

export default function (run) {
  const products = dataOf(call("products", "GET", "/api/products"));
  held("truthful", !products || products.some(({ sku }) => sku === run.sku), () => `'${run.sku}' is not among the products`);
  const product = dataOf(call("product", "GET", `/api/products/${run.sku}`));
  const stock = dataOf(call("stock", "GET", `/api/products/${run.sku}/stock`));
  for (const each of [product, stock]) {
    if (each) held("truthful", each.availableStock >= 0 && each.availableStock <= each.totalStock, () => JSON.stringify(each));
  }
}
