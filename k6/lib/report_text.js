// The verdict for a terminal.
const BAR = 40;
const PERCENTILES = ["med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];

// `found` is what summary.js has put together, `page` where the same stands as HTML.
export function text(found, page) {
  const lines = ["", headline(found), `${found.scenario}, profile ${found.profile}, ${found.sku} at ${found.target}, ${found.seconds.toFixed(1)} s`, ""];
  lines.push("guaranteed", ...found.promises.map(row), "");
  lines.push(found.budgets_held ? "error budgets" : "error budgets (shown, not held, under stress)", ...found.budgets.map(budget), "");
  lines.push("the run itself", ...found.fairness.map(row), "");
  if (found.sale) lines.push(...saleLines(found.sale), "");
  lines.push(...histogram("answers to purchases", found.answers), ...histogram("other answers", found.statuses), ...table(found.latencies));
  lines.push(`${Math.round(found.requests.count)} requests, ${found.requests.rate.toFixed(0)}/s${found.banners ? `; ${found.banners} banners by websocket` : ""}`, `report: ${page}`, "", headline(found), "");
  return lines.join("\n");
}

export function headline({ passed, broken, promises, budgets, fairness }) {
  if (passed) {
    const met = budgets.every(({ holds }) => holds) ? ", and the budgets were met" : "";
    return `PASS: ${keptOf(promises)}${met}`;
  }
  const named = [...promises, ...budgets, ...fairness].filter(({ name }) => broken.includes(name));
  return `FAIL: ${named.map(({ title, seen }) => `${title} (${seen})`).join("; ")}`;
}

// What was not tried is not told as kept.
function keptOf(promises) {
  const untried = promises.filter(({ tried }) => !tried).map(({ title }) => title);
  const all = `all ${promises.length} promises tried, all kept`;
  return untried.length ? `${promises.length - untried.length} of ${promises.length} promises tried, all kept (not tried: ${untried.join("; ")})` : all;
}

const mark = ({ tried, holds }) => (!tried ? "  -   " : holds ? "holds " : "BROKEN");
const row = (each) => `  ${mark(each)}  ${each.title.padEnd(58)}  ${each.seen}`;
const budget = (each) => {
  const allowed = 1 - each.least_share;
  const spent = allowed ? (1 - each.share) / allowed : 0;
  return `  ${each.holds && spent <= 1 ? "met   " : "SPENT "}  ${each.title.padEnd(58)}  ${(spent * 100).toFixed(0)} % of its ${(allowed * 100).toFixed(1)} % spent (${each.seen})`;
};

function saleLines({ units, available_before, available_after, confirmed }) {
  return ["the sale", `  ${confirmed} units confirmed to shoppers of this run; the shop's own count of ${units} went from ${available_before} available to ${available_after ?? "unknown"}`];
}

function histogram(title, counts) {
  const most = Math.max(0, ...Object.values(counts));
  if (!most) return [];
  const bars = Object.entries(counts).map(([label, count]) => `  ${label.padEnd(24)} ${String(count).padStart(9)}  ${"#".repeat(Math.max(1, Math.round((count / most) * BAR)))}`);
  return [title, ...bars, ""];
}

function table(latencies) {
  const rows = Object.values(latencies);
  if (!rows.length) return [];
  const cells = (values) => values.map((each) => String(each).padStart(9)).join("");
  return [
    `${"milliseconds".padEnd(44)}${cells(["count", ...PERCENTILES])}`,
    ...rows.map((each) => `  ${each.title.padEnd(42)}${cells([each.count, ...PERCENTILES.map((name) => each[name].toFixed(1))])}`),
    "",
  ];
}
