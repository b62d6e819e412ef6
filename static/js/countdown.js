// Counts down to the sale's opening or close by the server's clock, and writes times in the viewer's own zone.
(() => {
  "use strict";

  const MEASURE_EVERY_MS = 60_000;
  const NUDGE_MAX_MS = 5_000;
  // A preview stands still at one moment, and asks nobody for the time.
  // Digits as the server writes them, in every language.
  const LOCALE = `${document.documentElement.lang}-u-nu-latn`;
  const DAYS = new Intl.NumberFormat(LOCALE, { style: "unit", unit: "day", unitDisplay: "short" });
  const stillAt = Date.parse(document.body.dataset.stillAt ?? "");
  let aheadMs = 0; // the server's clock minus this device's
  let timer;
  let nudge = { phase: null, count: 0, at: 0 };

  const banner = () => document.getElementById("banner");
  const now = () => stillAt || Date.now() + aheadMs;

  // The answer's ETag ignores the time of day in it, so a cache must stay out of this.
  async function measure() {
    const sku = banner()?.dataset.sku;
    if (!sku || stillAt || document.hidden) return;
    try {
      const sent = performance.now();
      const response = await fetch(`/api/products/${encodeURIComponent(sku)}/sale-status`, { cache: "no-store" });
      const halfTrip = (performance.now() - sent) / 2;
      const answer = await response.json();
      const serverTime = Date.parse(answer.data?.serverTime);
      if (Number.isNaN(serverTime)) return;
      aheadMs = serverTime + halfTrip - Date.now();
      tick();
    } catch {
      // Offline: the last offset still holds.
    }
  }

  function clockText(leftMs) {
    const seconds = Math.max(0, Math.ceil(leftMs / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(seconds / 86_400);
    const clock = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    return days ? `${DAYS.format(days)} ${clock}` : clock;
  }

  function tick() {
    clearTimeout(timer);
    const root = banner();
    if (!root) return;
    let isOver = false;
    for (const place of root.querySelectorAll("[data-countdown]")) {
      const leftMs = Date.parse(place.dataset.countdown) - now();
      if (leftMs <= 0) isOver = true;
      const text = clockText(leftMs);
      if (place.textContent !== text) place.textContent = text;
      place.dataset.ticking = "";
    }
    for (const word of root.querySelectorAll("[data-when-ticking]")) {
      const { whenTicking, whenDue } = word.dataset;
      const words = isOver && whenDue ? whenDue : whenTicking;
      if (word.textContent !== words) word.textContent = words;
    }
    if (isOver) askForNews(root);
    // Wakes right after the second changes; past zero, more often.
    timer = setTimeout(tick, isOver ? 250 : 1000 - ((now() % 1000) + 1000) % 1000 + 5);
  }

  // The time is up but the banner still says otherwise: ask at once, then less and less often.
  function askForNews(root) {
    const phase = root.dataset.phase;
    if (nudge.phase !== phase) nudge = { phase, count: 0, at: 0 };
    if (Date.now() < nudge.at || document.hidden) return;
    const pause = Math.min(NUDGE_MAX_MS, 400 * 2 ** nudge.count);
    nudge = { phase, count: nudge.count + 1, at: Date.now() + pause * (0.75 + Math.random() / 2) };
    root.dispatchEvent(new CustomEvent("poll"));
  }

  // As the server writes them: the page's language, the viewer's zone.
  const write = (date, options) => new Intl.DateTimeFormat(LOCALE, options).format(date);
  const day = (date) => write(date, { dateStyle: "medium" });
  const clock = (date) => write(date, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const COMMA = LOCALE.startsWith("ar") ? "،" : ",";
  const moment = (date) => `${day(date)}${COMMA} ${clock(date)}`;
  const zoneOf = (date) =>
    new Intl.DateTimeFormat(LOCALE, { timeZoneName: "short" }).formatToParts(date).find((part) => part.type === "timeZoneName").value;

  function localise(root) {
    for (const time of root.querySelectorAll("time[data-local]")) {
      const date = new Date(time.dateTime);
      time.textContent = `${moment(date)} ${zoneOf(date)}`;
    }
    for (const frame of root.querySelectorAll("[data-window]")) {
      const [from, to] = frame.querySelectorAll("time");
      const [start, end] = [new Date(from.dateTime), new Date(to.dateTime)];
      from.textContent = moment(start);
      to.textContent = day(start) === day(end) ? clock(end) : moment(end);
      frame.querySelector("[data-zone]").textContent = zoneOf(end);
    }
  }

  function show() {
    localise(document);
    tick();
  }

  document.addEventListener("htmx:load", show);
  document.addEventListener("visibilitychange", () => document.hidden || (tick(), measure()));
  window.addEventListener("pageshow", (event) => event.persisted && (tick(), measure()));
  setInterval(measure, MEASURE_EVERY_MS);
  show();
  measure();
})();
