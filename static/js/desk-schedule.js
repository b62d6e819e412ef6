// The desk's clocks: times on the zone somebody chose, UTC beside them, and how long it is until then.
// Pages work without this; they then speak UTC.
(() => {
  "use strict";

  const COOKIE = "desk_time_zone";
  const YEAR_SECONDS = 31536000;
  const started = performance.now();
  const clock = document.querySelector("[data-now]");
  // The server's clock, so that a wrong one here does not promise a wrong opening.
  const now = clock
    ? () => Number(clock.dataset.now) + (performance.now() - started)
    : () => Date.now();

  const formats = new Map();
  function format(zone, locale, options) {
    const key = `${zone} ${locale} ${JSON.stringify(options)}`;
    if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(locale, { timeZone: zone, ...options }));
    return formats.get(key);
  }

  function knows(zone) {
    try { return Boolean(format(zone, "en-US", {})); } catch { return false; }
  }

  // How far the zone's clock is ahead of UTC at an instant, in ms; NaN for a zone that this browser doesn't know.
  function ahead(ms, zone) {
    const parts = {};
    if (!knows(zone) || Number.isNaN(ms)) return NaN;
    const options = { hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
    for (const part of format(zone, "en-US", options).formatToParts(new Date(ms))) parts[part.type] = Number(part.value);
    const wall = Date.UTC(parts.year, parts.month - 1, parts.day, parts.hour, parts.minute, parts.second);
    return wall - Math.floor(ms / 1000) * 1000;
  }

  // The instant at which the zone's clock shows `text`; NaN when it never does.
  function instant(text, zone) {
    const wall = Date.parse(`${text}Z`);
    if (Number.isNaN(wall)) return NaN;
    const found = wall - ahead(wall - ahead(wall, zone), zone);
    return found + ahead(found, zone) === wall ? found : NaN;
  }

  function shown(ms, zone) {
    const text = Number.isNaN(ahead(ms, zone)) ? "+" : new Date(ms + ahead(ms, zone)).toISOString();
    return /^[+-]/.test(text) ? "" : text.slice(0, 19).replace(/:00$/, ""); // no input takes a year of five digits
  }

  function spoken(ms, zone) {
    const options = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    return format(zone, "en-GB", options).format(new Date(ms));
  }

  function lasting(ms) {
    let left = Math.max(0, Math.floor(ms / 1000));
    const parts = [];
    for (const [unit, seconds] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
      const count = Math.floor(left / seconds);
      left %= seconds;
      if (count) parts.push(`${count} ${unit}`);
      else if (parts.length) break;
    }
    return parts.slice(0, 2).join(" ") || "0 s";
  }

  // Nobody waits for the second of something that is hours away.
  const until = (ms) => lasting(ms > 3600000 ? ms - (ms % 60000) : ms);

  function chosen() {
    const found = document.cookie.split("; ").find((part) => part.startsWith(`${COOKIE}=`));
    return found ? found.slice(COOKIE.length + 1) : "";
  }

  function remember(zone) {
    const path = document.querySelector("meta[name=back-office]").content;
    document.cookie = `${COOKIE}=${zone}; path=${path}; max-age=${YEAR_SECONDS}; samesite=lax`;
  }

  function place(zone) {
    return zone === "UTC" ? "UTC" : zone.split("/").pop().replaceAll("_", " ");
  }

  // The form: inputs on the clock of the zone that stands in the select. What each of them means stands beside it, as
  // `instant|zone|wall time`, so that the server sees which instant it was taken for, and refuses what it reads otherwise.
  const select = document.querySelector("select[name=time_zone]");
  const inputs = [...document.querySelectorAll("input.desk-time")].filter((input) => beside(input));
  const instants = new Map();

  function beside(input) {
    return input.form && input.form.elements[`${input.name}_reading`];
  }

  const minutes = (wall) => wall.replace(/(T\d\d:\d\d):00(\.0+)?$/, "$1");

  // What the server has put there: it is the instant's, also where this browser has other rules for the zone.
  function given(input) {
    const [at, zone, wall] = beside(input).value.split("|");
    return zone === select.value && minutes(wall || "") === minutes(input.value) ? Date.parse(at) : NaN;
  }

  function note(input, at) {
    if (Number.isNaN(at)) instants.delete(input);
    else instants.set(input, at);
    beside(input).value = Number.isNaN(at) ? "" : `${new Date(at).toISOString()}|${select.value}|${input.value}`;
  }

  function read(input) {
    return instants.has(input) ? instants.get(input) : NaN;
  }

  function hints() {
    for (const output of document.querySelectorAll("[data-moment]")) {
      const input = document.getElementById(output.dataset.moment);
      const at = input && input.value ? read(input) : null;
      if (at === null) output.textContent = "";
      else if (!knows(select.value)) output.textContent = `This browser doesn’t know the clock of ${place(select.value)}.`;
      else if (Number.isNaN(at)) output.textContent = `${place(select.value)} has no such time: the clocks skip it.`;
      else output.textContent = [select.value === "UTC" ? "" : `${spoken(at, "UTC")} UTC`, says(output, at)].filter(Boolean).join(" · ");
    }
  }

  function says(output, at) {
    if (output.dataset.says === "opens") {
      const left = at - now();
      return left > 0 ? `opens in ${until(left)}` : `that was ${until(-left)} ago`;
    }
    if (output.dataset.says === "ends") return at > now() ? `in ${until(at - now())}` : "that is past already";
    const from = read(document.getElementById("id_opens_at"));
    if (Number.isNaN(from)) return "";
    return at > from ? `lasts ${lasting(at - from)}` : "that is before it opens";
  }

  function zoneChanged() {
    if (!knows(select.value)) return hints();
    for (const input of inputs) {
      const at = read(input);
      const text = shown(at, select.value);
      if (!text) continue;
      input.value = text;
      note(input, at);
    }
    hints();
  }

  if (select && inputs.length) {
    for (const input of inputs) {
      if (input.value) {
        const at = given(input);
        note(input, Number.isNaN(at) ? instant(input.value, select.value) : at);
      }
      input.addEventListener("input", () => { note(input, instant(input.value, select.value)); hints(); });
    }
    select.addEventListener("change", () => {
      remember(select.value);
      zoneChanged();
    });
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!chosen() && here !== select.value && [...select.options].some((option) => option.value === here)) {
      select.value = here;
      select.dispatchEvent(new Event("change"));
    }
    for (const group of document.querySelectorAll(".desk-lengths")) group.hidden = false;
    for (const button of document.querySelectorAll("[data-lasts]")) {
      button.addEventListener("click", () => {
        const closes = document.getElementById("id_closes_at");
        const from = read(document.getElementById("id_opens_at"));
        if (Number.isNaN(from)) return;
        const at = from + Number(button.dataset.lasts) * 1000;
        closes.value = shown(at, select.value);
        note(closes, at);
        hints();
      });
    }
    hints();
    setInterval(hints, 1000);
  }

  // Elsewhere: the viewer's own time beside UTC, and countdowns.
  const mine = chosen() || Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  function localise(root) {
    if (mine === "UTC" || mine === "Etc/UTC") return;
    for (const time of root.querySelectorAll("[data-local-time]")) {
      const local = document.createElement("span");
      local.className = "desk-local";
      local.textContent = `${spoken(Number(time.dataset.localTime), mine)} in ${place(mine)}`;
      time.after(" ", local);
    }
  }
  localise(document);
  document.addEventListener("htmx:afterSwap", (event) => localise(event.detail.elt));
  function count() {
    for (const element of document.querySelectorAll("[data-until]")) {
      const left = Number(element.dataset.until) - now();
      element.textContent = left > 0 ? `${element.dataset.verb} in ${until(left)}` : `${element.dataset.verb} now: load this page anew`;
    }
  }
  if (document.querySelector("[data-until]")) setInterval(count, 1000);

  // A second click on the way is not a second order.
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      // After the browser has taken the pressed button's value.
      setTimeout(() => { for (const button of form.querySelectorAll("button")) button.disabled = true; });
    });
  }
  window.addEventListener("pageshow", (event) => {
    if (event.persisted && document.querySelector("form[data-once]")) window.location.reload();
  });
  const first = document.querySelector(".desk-conflict");
  if (first) first.focus();
})();
