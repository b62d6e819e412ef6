// Counts down to the sale's opening or close by the server's clock.
(() => {
  "use strict";

  const NUDGE_MAX_MS = 5_000;
  const PUSH_MS = 1_500; // a live socket brings the news by itself; thousands of pages must not ask all at once
  const DUE_TICK_MS = 250;
  // Digits as the server writes them, in every language.
  const LOCALE = `${document.documentElement.lang}-u-nu-latn`;
  const DAYS = new Intl.NumberFormat(LOCALE, { style: "unit", unit: "day", unitDisplay: "short" });
  let timer;
  let nudge = { phase: null, count: 0, at: 0 };

  const banner = () => document.getElementById("banner");
  const { now, isLive = () => false } = window.flashdrop;

  function clockText(leftMs) {
    const seconds = Math.max(0, Math.ceil(leftMs / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(seconds / 86_400);
    const clock = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    return days ? `${DAYS.format(days)} ${clock}` : clock;
  }

  // What nobody knows is not shown: the times of the window stand there until the server's clock is known.
  function tick() {
    clearTimeout(timer);
    const root = banner();
    const at = now();
    if (!root || at === null) return;
    let isOver = false;
    let next = 1000;
    for (const place of root.querySelectorAll("[data-countdown]")) {
      const leftMs = Date.parse(place.dataset.countdown) - at;
      if (leftMs <= 0) isOver = true;
      else next = Math.min(next, leftMs % 1000 || 1000);
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
    timer = setTimeout(tick, isOver ? DUE_TICK_MS : next + 5);
  }

  // The time is up but the banner still says otherwise: ask soon, then less and less often.
  function askForNews(root) {
    const phase = root.dataset.phase;
    const at = performance.now();
    if (nudge.phase !== phase) nudge = { phase, count: 0, at: isLive() ? at + PUSH_MS * (0.5 + Math.random()) : at };
    if (at < nudge.at || document.hidden) return;
    const pause = Math.min(NUDGE_MAX_MS, 400 * 2 ** nudge.count);
    nudge = { phase, count: nudge.count + 1, at: at + pause * (0.75 + Math.random() / 2) };
    root.dispatchEvent(new CustomEvent("poll"));
  }

  document.addEventListener("htmx:load", tick);
  document.addEventListener("flashdrop:clock", tick);
  document.addEventListener("flashdrop:wake", tick);
  tick();
})();
