// What the load tester chose, by environment. `problems` are sentences about what can't be used; `begin` ends the run on them.
export const PROFILES = ["smoke", "quick", "load", "stress"];
export const problems = [];

const text = (name, otherwise = "") => (__ENV[name] || "").trim() || otherwise;

function number(name, otherwise, least) {
  const value = Number(text(name, String(otherwise)));
  if (Number.isFinite(value) && value >= least) return value;
  problems.push(`${name} is '${text(name)}': it has to be a number, at least ${least}.`);
  return otherwise;
}

function oneOf(name, choices) {
  const value = text(name, choices[0]);
  if (choices.includes(value)) return value;
  problems.push(`${name} is '${value}': it has to be one of ${choices.join(", ")}.`);
  return choices[0];
}

function address() {
  const value = text("API_URL", "http://127.0.0.1:8000").replace(/\/+$/, "");
  if (!/^https?:\/\/[^/\s]+(\/\S*)?$/.test(value)) problems.push(`API_URL is '${value}': it has to begin with http:// or https://.`);
  return value;
}

// k6 opens files relative to the script that asks; people mean the folder they stand in.
function path(name) {
  const value = text(name);
  return !value || value.startsWith("/") ? value : `${__ENV.PWD || "."}/${value}`;
}

export const settings = Object.freeze({
  url: address(),
  sku: text("SKU"), // empty: the only sale that is published
  profile: oneOf("PROFILE", ["quick", "smoke", "load", "stress"]),
  scale: number("SCALE", 1, 0.001), // multiplies the profile's rates and numbers of people
  stretch: number("STRETCH", 1, 0.01), // multiplies the profile's durations
  shoppers: path("SHOPPERS"), // a file of `manage.py mint_shoppers`; without it the script signs in
  identity: oneOf("IDENTITY", ["login", "header"]), // header: X-User-Id, where the shop trusts it
  buys: oneOf("BUY", ["yes", "no"]) === "yes", // for smoke.js against a shop whose units are not to be touched
  isAlone: oneOf("ALONE", ["yes", "no"]) === "yes", // no: others buy here too, so the shop may sell more than we see
  units: number("UNITS", 0, 0), // the most that the merchandiser sets; 0: what the sale has when the run begins
  dropped: number("DROPPED", 0.05, 0), // the share of shoppers that the generator may fail to send
  settleMs: number("SETTLE_MS", 30_000, 1), // how long an order may be pending
  orderMs: number("ORDER_MS", 1000, 1),
  readMs: number("READ_MS", 250, 1),
  pageMs: number("PAGE_MS", 500, 1),
  out: path("OUT") || __ENV.PWD || ".",
});

// A number of people, or of them a second, in this profile.
export const scaled = (count) => Math.max(1, Math.round(count * settings.scale));

// Seconds in this run.
export const lasting = (seconds) => Math.max(1, Math.round(seconds * settings.stretch * 10) / 10);

// The entry of this run's profile.
export const byProfile = (choices) => choices[settings.profile];
