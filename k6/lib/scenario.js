// The parts of k6's options that all scenarios share.
import { lasting, scaled, settings } from "./settings.js";
import { thresholds } from "./verdict.js";

const GRACE = `${Math.ceil(settings.settleMs / 1000) + 15}s`; // for what is under way: a pending order is waited for

// k6's options for these scenarios of k6. `shoppers`: as many may buy; none where nobody does.
export const plan = (scenarios, { shoppers = 0 } = {}) => ({
  scenarios,
  thresholds: thresholds({ sells: shoppers > 0, iterations: startsOf(scenarios) }),
  summaryTrendStats: ["count", "min", "p(10)", "p(25)", "med", "p(75)", "p(90)", "p(95)", "p(99)", "p(99.9)", "max"],
  systemTags: ["name", "status", "error_code"],
  setupTimeout: "60s",
  teardownTimeout: "90s",
  userAgent: "flashdrop-load-kit",
  // For whoever prepares the run: seen by `k6 inspect`.
  ext: { flashdrop: { shoppers, seconds: Math.max(...Object.values(scenarios).map(secondsOf)) } },
});

// As many iterations a second, however long each takes; `lasts` is how many seconds that is when all is well.
export const steadily = (perSecond, seconds, { lasts = 1, ...also } = {}) => ({
  executor: "constant-arrival-rate",
  rate: scaled(perSecond * 10),
  timeUnit: "10s",
  duration: `${lasting(seconds)}s`,
  gracefulStop: GRACE,
  ...people(perSecond, lasts),
  ...also,
});

// From one pace to the next: [[seconds, perSecond], ...], beginning at the first pace.
export const rising = (stages, { lasts = 1, ...also } = {}) => ({
  executor: "ramping-arrival-rate",
  startRate: scaled(stages[0][1]),
  timeUnit: "1s",
  stages: stages.map(([seconds, perSecond]) => ({ duration: `${lasting(seconds)}s`, target: scaled(perSecond) })),
  gracefulStop: GRACE,
  ...people(Math.max(...stages.map(([, perSecond]) => perSecond)), lasts),
  ...also,
});

// Everybody once.
export const everybody = (count, seconds, also = {}) => ({
  executor: "per-vu-iterations",
  vus: scaled(count),
  iterations: 1,
  maxDuration: `${seconds}s`,
  gracefulStop: GRACE,
  ...also,
});

// How many shoppers come at most.
export function shoppersOf({ executor, rate, duration, startRate, stages, vus }) {
  if (executor === "per-vu-iterations") return vus;
  if (executor === "constant-arrival-rate") return Math.ceil((rate * parseFloat(duration)) / 10) + 1;
  let [sum, from] = [1, startRate];
  for (const { duration: length, target } of stages) {
    sum += (parseFloat(length) * (from + target)) / 2;
    from = target;
  }
  return Math.ceil(sum);
}

// What may be dropped when the generator can't keep its pace: people who come once wait for their turn.
const startsOf = (scenarios) =>
  Object.values(scenarios).reduce((sum, each) => sum + (each.executor === "per-vu-iterations" ? 0 : shoppersOf(each)), 0);

// How long it takes, if that is known beforehand.
const secondsOf = ({ duration, stages }) => (stages ? stages.reduce((sum, each) => sum + parseFloat(each.duration), 0) : parseFloat(duration || "0"));

// Virtual users cost memory, and one that has to be made on the way costs a start: enough from the beginning for iterations
// that last as long as they should, and as many again for a shop that gets slow.
function people(perSecond, lasts) {
  const enough = Math.ceil(scaled(perSecond) * lasts * 1.2) + 10;
  return { preAllocatedVUs: enough, maxVUs: enough * 3 };
}
