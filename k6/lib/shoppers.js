// Who buys: signed cookies from a file, names sent in the trusted header, or people who sign in.
import { SharedArray } from "k6/data";
import http from "k6/http";
import { call } from "./client.js";
import { dataOf } from "./contract.js";
import { problems, settings } from "./settings.js";

const COOKIE = /^([^=\s]+)=(\S+)$/;
const cookies = new SharedArray("shoppers", readCookies);

function readCookies() {
  if (!settings.shoppers) return [];
  try {
    return open(settings.shoppers)
      .split("\n")
      .filter((line) => COOKIE.test(line));
  } catch (error) {
    return [];
  }
}
if (settings.shoppers && !cookies.length) problems.push(`SHOPPERS names ${settings.shoppers}, which holds no cookies: write it with manage.py mint_shoppers.`);

// Says so when the file has fewer than `needed` shoppers.
export function tooFew(needed) {
  if (!settings.shoppers || cookies.length >= needed) return null;
  return `${settings.shoppers} has ${cookies.length} shoppers, this run needs ${needed}: manage.py mint_shoppers ${needed} --prefix another.`;
}

// Shopper number `index` of this run: `params` go with each request of theirs. Null when they could not sign in.
export function shopperAt(run, index) {
  const name = `k6-${run.id}-${index}`;
  const shopper = { name, params: { jar: new http.CookieJar(), headers: {} }, order: null, orderIds: {}, mayHold: false };
  if (settings.shoppers) {
    const [, cookie, value] = COOKIE.exec(cookies[index % cookies.length]);
    shopper.params.jar.set(settings.url, cookie, value);
  } else if (settings.identity === "header") {
    shopper.params.headers["X-User-Id"] = name;
  } else if (dataOf(call("login", "POST", "/api/auth/login", shopper, { identifier: name })) === null) {
    return null;
  }
  return shopper;
}

// The shopper's cookies as one header, for a websocket.
export const cookieHeader = (shopper) =>
  Object.entries(shopper.params.jar.cookiesForURL(settings.url))
    .map(([name, [value]]) => `${name}=${value}`)
    .join("; ");
