// The verdict as one HTML file that needs nothing else: to be kept, mailed and printed.
import { headline } from "./report_text.js";

const PERCENTILES = ["med", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"];
// Where each percentile stands on the curve: as far again for each ten times fewer answers that are slower.
const CURVE = [["min", 0], ["p(10)", 0.046], ["p(25)", 0.125], ["med", 0.301], ["p(75)", 0.602], ["p(90)", 1], ["p(95)", 1.301], ["p(99)", 2], ["p(99.9)", 3]];
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const [WIDTH, HEIGHT, LEFT, BOTTOM] = [720, 280, 60, 30];

const STYLE = `
:root { color-scheme: light dark; --ink: #1d2126; --paper: #fff; --faint: #e3e6ea; --good: #0a7a4b; --bad: #b3261e; --bar: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --paper: #15181c; --faint: #30353c; --good: #5fd39b; --bad: #ff8a80; --bar: #56b4e9; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto; max-width: 60rem; padding: 1.5rem 1rem; }
h1 { font-size: 1.4rem; padding: .8rem 1rem; border-left: .5rem solid; } h1.good { color: var(--good); } h1.bad { color: var(--bad); }
h2 { font-size: 1.1rem; margin-top: 2rem; } .scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--faint); vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; }
meter { width: 100%; } .whole { white-space: nowrap; } .bar { background: var(--bar); height: .9rem; min-width: 2px; } td.wide { width: 45%; }
svg text { fill: currentColor; font-size: 12px; } svg { max-width: 100%; height: auto; }
`;

// `found` is what summary.js has put together.
export function html(found) {
  const facts = [`${found.scenario}, profile ${found.profile}`, `${found.sku} at ${found.target}`, `${found.seconds.toFixed(1)} s, ended ${found.at}`, `${found.requests.count} requests, ${found.requests.rate.toFixed(0)}/s`];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${found.passed ? "PASS" : "FAIL"}: ${escaped(found.scenario)} on ${escaped(found.sku)}</title><style>${STYLE}</style></head><body>
<h1 class="${found.passed ? "good" : "bad"}">${escaped(headline(found))}</h1>
<p>${facts.map(escaped).join(" &middot; ")}</p>
${section("Guaranteed, at any load", verdicts(found.promises))}
${section(found.budgets_held ? "Error budgets" : "Error budgets (shown, not held, under stress)", budgets(found.budgets))}
${section("The run itself", verdicts(found.fairness))}
${found.sale ? section("The sale", sale(found.sale)) : ""}
${section("Answers to purchases", histogram(found.answers))}
${section("Other answers", histogram(found.statuses))}
${section("Latency", curves(found.latencies) + percentiles(found.latencies))}
</body></html>
`;
}

const escaped = (value) => String(value).replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
const section = (title, body) => (body ? `<section><h2>${title}</h2><div class="scroll">${body}</div></section>` : "");
const table = (head, rows) => (rows.length ? `<table><thead><tr>${head}</tr></thead><tbody>${rows.map((cells) => `<tr>${cells}</tr>`).join("")}</tbody></table>` : "");

function verdicts(rows) {
  const word = ({ tried, holds }) => (!tried ? "<td>not tried</td>" : holds ? '<td class="good whole">holds</td>' : '<td class="bad whole">BROKEN</td>');
  return table("<th>what</th><th>verdict</th><th>seen</th>", rows.map((row) => `<td>${escaped(row.title)}</td>${word(row)}<td>${escaped(row.seen)}</td>`));
}

function budgets(rows) {
  return table(
    "<th>budget</th><th>spent</th><th>seen</th>",
    rows.map((row) => {
      const spent = (1 - row.share) / (1 - row.least_share);
      const share = `${(spent * 100).toFixed(0)} % of ${((1 - row.least_share) * 100).toFixed(1)} %`;
      return `<td>${escaped(row.title)}</td><td class="${spent <= 1 ? "good" : "bad"}">${share}<br><meter min="0" max="1" value="${Math.min(1, spent)}" aria-label="${share}"></meter></td><td>${escaped(row.seen)}</td>`;
    }),
  );
}

function sale({ units, available_before, available_after, confirmed }) {
  const facts = [["units", units], ["available before", available_before], ["confirmed to shoppers of this run", confirmed], ["available after, by the shop", available_after ?? "unknown"]];
  return table("", facts.map(([name, count]) => `<th scope="row">${name}</th><td class="number">${count}</td>`));
}

function histogram(counts) {
  const most = Math.max(0, ...Object.values(counts));
  return table(
    '<th>answer</th><th class="number">count</th><th></th>',
    Object.entries(counts).map(([label, count]) => `<td>${escaped(label)}</td><td class="number">${count}</td><td class="wide"><div class="bar" style="width:${((100 * count) / most).toFixed(1)}%"></div></td>`),
  );
}

function percentiles(latencies) {
  const number = (text) => `<td class="number">${text}</td>`;
  return table(
    ["milliseconds", "count", ...PERCENTILES].map((name, place) => `<th${place ? ' class="number"' : ""}>${name}</th>`).join(""),
    Object.values(latencies).map((each) => `<td>${escaped(each.title)}</td>${number(each.count)}${PERCENTILES.map((name) => number(each[name].toFixed(1))).join("")}`),
  );
}

// Latency by percentile, both axes logarithmic: the tail is where people wait.
function curves(latencies) {
  const lines = Object.values(latencies);
  const values = lines.flatMap((each) => CURVE.map(([name]) => each[name])).filter((each) => each > 0);
  if (!values.length) return "";
  const [low, high] = [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)) + 0.01)];
  const x = (rarity) => LEFT + (rarity / 3) * (WIDTH - LEFT - 10);
  const y = (ms) => HEIGHT - BOTTOM - ((Math.log10(Math.max(ms, 10 ** low)) - low) / (high - low)) * (HEIGHT - BOTTOM - 10);
  const grid = [];
  for (let power = low; power <= high; power += 1) {
    const at = y(10 ** power).toFixed(1);
    grid.push(`<line x1="${LEFT}" x2="${WIDTH - 10}" y1="${at}" y2="${at}" stroke="var(--faint)"/><text x="${LEFT - 6}" y="${at}" text-anchor="end" dominant-baseline="middle">${10 ** power} ms</text>`);
  }
  for (const [name, rarity] of CURVE.filter(([each]) => ["med", "p(90)", "p(99)", "p(99.9)"].includes(each))) {
    grid.push(`<text x="${x(rarity).toFixed(1)}" y="${HEIGHT - 8}" text-anchor="${rarity === 3 ? "end" : "middle"}">${name}</text>`);
  }
  const drawn = lines.map((each, place) => `<polyline fill="none" stroke="${COLOURS[place]}" stroke-width="2" points="${CURVE.map(([name, rarity]) => `${x(rarity).toFixed(1)},${y(each[name]).toFixed(1)}`).join(" ")}"/>`);
  const legend = lines.map((each, place) => `<span class="whole"><span style="color:${COLOURS[place]}">&#9632;</span> ${escaped(each.title)}</span>`).join(" &ensp; ");
  return `<p>${legend}</p><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Latency by percentile; the table below has the figures">${grid.join("")}${drawn.join("")}</svg>`;
}
