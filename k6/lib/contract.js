// The HTTP contract (docs/reference/api.md): which statuses and codes each endpoint may answer with.
const ALWAYS = { 429: ["RATE_LIMITED"] };
const READING = { 200: [], 304: [], 404: ["NOT_FOUND"] };

export const CONTRACT = {
  login: { 200: [], 400: ["VALIDATION_ERROR"], 403: ["CROSS_SITE"], 413: ["PAYLOAD_TOO_LARGE"], 415: ["UNSUPPORTED_MEDIA_TYPE"] },
  logout: { 200: [], 403: ["CROSS_SITE"] },
  products: READING,
  product: READING,
  status: READING,
  stock: READING,
  order: {
    200: [],
    201: [],
    202: [],
    400: ["VALIDATION_ERROR", "FLASH_SALE_NOT_STARTED", "FLASH_SALE_ENDED"],
    401: ["UNAUTHORIZED"],
    403: ["LIMIT_EXCEEDED", "CROSS_SITE"],
    404: ["PRODUCT_NOT_FOUND"],
    409: ["OUT_OF_STOCK", "PRICE_CHANGED"],
    413: ["PAYLOAD_TOO_LARGE"],
    415: ["UNSUPPORTED_MEDIA_TYPE"],
    422: ["IDEMPOTENCY_KEY_REUSED"],
    423: ["SALE_PAUSED"],
    503: ["SALE_NOT_READY", "OVERLOADED"],
  },
  orders: { 200: [], 401: ["UNAUTHORIZED"] },
  own_order: { 200: [], 401: ["UNAUTHORIZED"], 404: ["NOT_FOUND"] },
};
// Pages answer people: only their status is held against the contract.
export const PAGES = {
  page: [200, 304, 404],
  banner: [200, 304, 404],
  panel: [200, 404],
  asset: [200, 304],
  buy_form: [200, 201, 202, 303, 400, 401, 403, 404, 409, 413, 422, 423, 429],
  health: [200],
};

const ORDER_SUCCESSES = { 200: "same order again", 201: "confirmed", 202: "pending" };
const CODES = Object.values(CONTRACT.order).flat();
// The form's answers are pages for people: their status tells the code, but for the window's, which share one.
const FORM_REFUSALS = Object.fromEntries(Object.entries(CONTRACT.order).map(([status, codes]) => [status, codes[0]]));
FORM_REFUSALS[400] = "400 to a form";
FORM_REFUSALS[503] = "5xx";
// Every answer to a purchase that the summary counts, in its order.
export const ORDER_ANSWERS = [...Object.values(ORDER_SUCCESSES), ...CODES, FORM_REFUSALS[400], "RATE_LIMITED", "5xx", "no answer", "undocumented"];

// What a purchase was answered with, as one of ORDER_ANSWERS.
export function orderAnswer(endpoint, response) {
  const { status } = response;
  if (status === 0) return "no answer";
  const label = ORDER_SUCCESSES[status] || (endpoint === "buy_form" ? formRefusal(response) : codeOf(response));
  if (ORDER_ANSWERS.includes(label)) return label;
  return status >= 500 ? "5xx" : "undocumented";
}

// Where two codes share a status, the panel's notice says which.
const formRefusal = ({ status, body }) => (status === 409 && /data-code="PRICE_CHANGED"/.test(body) ? "PRICE_CHANGED" : FORM_REFUSALS[status]);

// Why an answer is none of the documented ones; null when it is.
export function deviation(endpoint, response) {
  const { status } = response;
  if (endpoint in PAGES) return PAGES[endpoint].includes(status) ? null : `${endpoint} answered ${status}`;
  const codes = { ...ALWAYS, ...CONTRACT[endpoint] }[status];
  if (!codes) return `${endpoint} answered ${status}`;
  if (status === 304) return null;
  const envelope = parsed(response);
  if (!envelope) return `${endpoint} answered ${status} without an envelope`;
  if (!codes.length) return envelope.status === "ok" && envelope.code === null ? null : `${endpoint}: ${status}, but not "ok"`;
  if (envelope.status !== "error" || !codes.includes(envelope.code)) return `${endpoint}: ${status} ${envelope.code}`;
  if (!envelope.error) return `${endpoint}: ${envelope.code} without words`;
  if ((status === 429 || status === 503) && !/^\d+$/.test(response.headers["Retry-After"] || "")) return `${endpoint}: ${status} without Retry-After`;
  return null;
}

// A documented "not now": too many at once, or a store that did not answer in time because of them.
export const isTurnedAway = (response) => response.status === 503 && Boolean(response.headers["Retry-After"]);

export const codeOf = (response) => parsed(response)?.code || null;

export const dataOf = (response) => parsed(response)?.data ?? null;

const envelopes = new WeakMap();

// The envelope, parsed once for each response; null when it is none.
function parsed(response) {
  if (!envelopes.has(response)) {
    let value = null;
    try {
      value = JSON.parse(response.body);
    } catch {
      // Not JSON: no envelope.
    }
    envelopes.set(response, value && typeof value === "object" && "timestamp" in value ? value : null);
  }
  return envelopes.get(response);
}
