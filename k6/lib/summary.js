// The end of a run: one verdict, for people on the terminal and in an HTML file, for machines as JSON.
import { ORDER_ANSWERS } from "./contract.js";
import { html } from "./report_html.js";
import { text } from "./report_text.js";
import { settings } from "./settings.js";
import { answerMetric, BUDGETS, FAIRNESS, PROMISES, STATUSES, TRENDS } from "./verdict.js";

const NOT_BEGUN = "The run did not begin; the reason is above.\n";

// What k6 writes at the end: k6's `handleSummary`.
export function report(data, scenario) {
  const found = verdict(data, scenario);
  if (!found) return { stdout: NOT_BEGUN };
  const file = `${settings.out}/stress-${scenario}`;
  return {
    stdout: text(found, `${file}.html`),
    [`${file}.json`]: `${JSON.stringify(found, null, 1)}\n`,
    [`${file}.html`]: html(found),
  };
}

// Everything a report shows. Null when the setup has ended the run.
function verdict(data, scenario) {
  const run = data.setup_data;
  if (!run) return null;
  const { metrics } = data;
  const promises = rows(PROMISES, metrics);
  const budgets = rows(BUDGETS, metrics).filter((row) => row.tried);
  const fairness = rows(FAIRNESS, metrics).filter((row) => row.tried);
  const isHeld = settings.profile !== "stress";
  const broken = [...promises, ...fairness, ...(isHeld ? budgets : [])].filter((row) => !row.holds);
  return {
    scenario,
    profile: settings.profile,
    scale: settings.scale,
    stretch: settings.stretch,
    target: settings.url,
    sku: run.sku,
    at: new Date().toISOString(),
    seconds: data.state.testRunDurationMs / 1000,
    passed: broken.length === 0,
    broken: broken.map((row) => row.name),
    budgets_held: isHeld,
    promises,
    budgets,
    fairness,
    sale: sale(metrics, run),
    answers: counts(ORDER_ANSWERS, metrics),
    statuses: counts(STATUSES, metrics, "status "),
    latencies: latencies(metrics),
    requests: metrics.http_reqs ? metrics.http_reqs.values : { count: 0, rate: 0 },
    banners: value(metrics, "banners", "count"),
  };
}

// One row for each of them: did it hold, was it tried at all, and what was seen.
function rows(kinds, metrics) {
  return Object.entries(kinds).map(([name, kind]) => {
    const { values = {}, thresholds = {} } = metrics[name] || {};
    const holds = Object.values(thresholds).every(({ ok }) => ok);
    return { name, title: kind.title, holds, ...seen(name, kind, values, metrics), least_share: kind.share || null };
  });
}

function seen(name, kind, values, metrics) {
  if (kind.balance) {
    const tried = wasWeighed(name, metrics);
    const off = Math.max(0, values.count || 0);
    return { tried, seen: tried ? `${off} ${kind.balance}` : "not tried", exceptions: off };
  }
  if ("passes" in values) {
    const all = values.passes + values.fails;
    return { tried: all > 0, seen: all ? `${values.passes} of ${all}${sampled(name, all, metrics)}` : "not tried", exceptions: values.fails, share: all ? values.rate : null };
  }
  const tried = name in metrics && Object.keys(metrics[name].thresholds || {}).length > 0;
  return { tried, seen: String(values.count || 0), exceptions: 0 };
}

// Whether both sides of a balance were put there. One that is broken was, whatever is missing.
function wasWeighed(name, metrics) {
  if (value(metrics, name, "count") > 0) return true;
  if (name === "within_stock") return value(metrics, "sold", "count") > 0;
  return "sale_after" in metrics && (name !== "explained" || settings.isAlone);
}

// What was looked into, of the answers that could have been.
function sampled(name, all, metrics) {
  const answers = name === "truly_out" ? value(metrics, answerMetric("OUT_OF_STOCK"), "count") : 0;
  return answers > all ? `, looked into of ${answers} such answers` : "";
}

function sale(metrics, run) {
  if (!run.buys) return null;
  const after = metrics.sale_after && metrics.sale_after.values;
  return {
    units: run.total,
    available_before: run.available,
    available_after: after ? after.value : null,
    confirmed: value(metrics, "sold", "count"),
  };
}

function counts(labels, metrics, prefix = "") {
  const found = labels.map((label) => [label, value(metrics, answerMetric(prefix + label), "count")]);
  return Object.fromEntries(found.filter(([, count]) => count > 0));
}

function latencies(metrics) {
  const found = {};
  for (const [name, title] of Object.entries(TRENDS)) {
    const values = metrics[name] && metrics[name].values;
    if (values && values.count) found[name] = { title, ...values };
  }
  return found;
}

const value = (metrics, name, field) => (metrics[name] ? metrics[name].values[field] || 0 : 0);
