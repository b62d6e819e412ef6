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

  // How far the zone's clock is ahead of UTC at an instant, in ms.
  function ahead(ms, zone) {
    const parts = {};
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
    return new Date(ms + ahead(ms, zone)).toISOString().slice(0, 19).replace(/:00$/, "");
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
    document.cookie = `${COOKIE}=${zone}; path=/admin/; max-age=${YEAR_SECONDS}; samesite=lax`;
  }

  function place(zone) {
    return zone === "UTC" ? "UTC" : zone.split("/").pop().replaceAll("_", " ");
  }

  // The form: inputs on the clock of the zone that stands in the select.
  const select = document.querySelector("select[name=time_zone]");
  const inputs = [...document.querySelectorAll("input.desk-time")];
  const instants = new Map();

  function read(input) {
    // What nobody touched stays the instant it was, also where a clock shows it twice.
    return instants.has(input) ? instants.get(input) : instant(input.value, select.value);
  }

  function hints() {
    for (const output of document.querySelectorAll("[data-moment]")) {
      const input = document.getElementById(output.dataset.moment);
      const at = input && input.value ? read(input) : null;
      if (at === null) output.textContent = "";
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

  function zoneChanged(before) {
    for (const input of inputs) {
      const at = instants.has(input) ? instants.get(input) : instant(input.value, before);
      if (Number.isNaN(at)) continue;
      instants.set(input, at);
      input.value = shown(at, select.value);
    }
    hints();
  }

  if (select && inputs.length) {
    let zone = select.value;
    for (const input of inputs) {
      const at = input.value ? instant(input.value, zone) : NaN;
      if (!Number.isNaN(at)) instants.set(input, at);
      input.addEventListener("input", () => { instants.delete(input); hints(); });
    }
    select.addEventListener("change", () => {
      remember(select.value);
      zoneChanged(zone);
      zone = select.value;
    });
    const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!chosen() && here !== zone && [...select.options].some((option) => option.value === here)) {
      select.value = here;
      select.dispatchEvent(new Event("change"));
    }
    for (const group of document.querySelectorAll(".desk-lengths")) group.hidden = false;
    for (const button of document.querySelectorAll("[data-lasts]")) {
      button.addEventListener("click", () => {
        const closes = document.getElementById("id_closes_at");
        const from = read(document.getElementById("id_opens_at"));
        if (Number.isNaN(from)) return;
        instants.set(closes, from + Number(button.dataset.lasts) * 1000);
        closes.value = shown(instants.get(closes), select.value);
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
