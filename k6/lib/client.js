// Requests to the documented endpoints; every answer is held against the contract and counted.
import http from "k6/http";
import { deviation, isTurnedAway, orderAnswer } from "./contract.js";
import { settings } from "./settings.js";
import { countAnswer, countStatus, held, took } from "./verdict.js";

const TREND = { order: "order_ms", buy_form: "order_ms", login: "sign_in_ms", page: "page_ms", banner: "page_ms", panel: "page_ms", asset: "page_ms" };
const IN_TIME = {
  order_ms: ["order_in_time", settings.orderMs],
  read_ms: ["read_in_time", settings.readMs],
  page_ms: ["page_in_time", settings.pageMs],
};
const JSON_TYPE = { "Content-Type": "application/json" };
const anybody = { params: { jar: new http.CookieJar(), headers: {} } };
// The verdict knows which answers are wrong; k6 would call every refusal a failure.
http.setResponseCallback(null);

// One request, and its answer after it was judged. `body` is sent as JSON, a text as it is; `also` are parameters of k6.
// With `also.timeout` the caller means to hang up: no answer is then nobody's fault.
export function call(endpoint, method, path, shopper, body, also = {}) {
  return judged(endpoint, http.request(method, settings.url + path, encoded(body), parameters(endpoint, shopper, body, also)), also);
}

// The same, without holding up the other things this virtual user does.
export async function callAsync(endpoint, method, path, shopper, body, also = {}) {
  const response = await http.asyncRequest(method, settings.url + path, encoded(body), parameters(endpoint, shopper, body, also));
  return judged(endpoint, response, also);
}

// Several at the same moment, as a double click sends them; each is a list of what `call` takes.
export function callTogether(calls) {
  const requests = calls.map(([endpoint, method, path, shopper, body, also = {}]) => ({
    method,
    url: settings.url + path,
    body: encoded(body),
    params: parameters(endpoint, shopper, body, also),
  }));
  return http.batch(requests).map((response, place) => judged(calls[place][0], response, calls[place][5] || {}));
}

export const origin = /^https?:\/\/[^/]+/.exec(settings.url)?.[0];

// What a browser sends with a form of the shop's own page.
export const formBody = (fields) =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${encodeURIComponent(value)}`)
    .join("&");
export const FORM = { headers: { "HX-Request": "true", Origin: origin, "Content-Type": "application/x-www-form-urlencoded" } };

function encoded(body) {
  return body === undefined ? null : typeof body === "string" ? body : JSON.stringify(body);
}

function parameters(endpoint, shopper, body, { headers = {}, ...also }) {
  const { params } = shopper || anybody;
  const type = body === undefined || typeof body === "string" ? {} : JSON_TYPE;
  return { redirects: 0, tags: { name: endpoint }, ...also, jar: params.jar, headers: { ...type, ...params.headers, ...headers } };
}

function judged(endpoint, response, { timeout }) {
  const { status } = response;
  const isPurchase = endpoint === "order" || endpoint === "buy_form";
  if (isPurchase) countAnswer(orderAnswer(endpoint, response));
  else countStatus(status);
  if (status === 0) {
    if (!timeout) held("answered", false, () => `${endpoint}: ${response.error}`);
    return response;
  }
  held("answered", true);
  const trend = TREND[endpoint] || "read_ms";
  took(trend, response.timings.duration);
  const [budget, limit] = IN_TIME[trend] || [];
  if (budget) held(budget, response.timings.duration <= limit);
  if (isPurchase) held("taken", !isTurnedAway(response));
  // Beyond what a shop can carry it may say so; anywhere else that is an error like any other.
  const isServerError = status >= 500 && !(settings.profile === "stress" && isTurnedAway(response));
  held("no_5xx", !isServerError, () => `${endpoint} answered ${status}: ${String(response.body).slice(0, 160)}`);
  if (!isServerError) {
    const found = deviation(endpoint, response);
    held("documented", found === null, () => found);
  }
  return response;
}
