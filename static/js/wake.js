// Notices that the page comes back from where it may have missed something, and says so (`flashdrop:wake`): shown again,
// out of the browser's memory, unfrozen, online, or out of a sleep that no event tells of. `missed` means that it has
// surely stood still or been cut off; merely hidden pages go on hearing.
(() => {
  "use strict";

  const TICK_MS = 1_000;
  const GAP_MS = 5_000; // a page at work is late by a second or two at most
  let tickedAt = Date.now();

  function wake(missed) {
    tickedAt = Date.now();
    document.dispatchEvent(new CustomEvent("flashdrop:wake", { detail: { missed } }));
  }

  document.addEventListener("visibilitychange", () => document.hidden || wake(false));
  document.addEventListener("resume", () => wake(true));
  window.addEventListener("pageshow", (event) => event.persisted && wake(true));
  window.addEventListener("online", () => wake(true));
  setInterval(() => {
    const gap = Date.now() - tickedAt;
    tickedAt = Date.now();
    if (gap > GAP_MS && !document.hidden) wake(true); // hidden pages tick once a minute
  }, TICK_MS);
})();
