// The server's clock (`flashdrop.now()`), whatever this device's says: measured by asking, and carried on by a clock that
// nobody can set. Says `flashdrop:clock` after each measurement that it believes.
(() => {
  "use strict";

  const MEASURE_EVERY_MS = 60_000;
  const AGAIN_MS = 2_000;
  const AGAIN_MAX_MS = 30_000;
  const SHARP_MS = 150; // good enough for a display of seconds
  const SHARPER_TRIES = 3;
  const TIMEOUT_MS = 10_000;
  const DRIFT = 1e-4; // how far a cheap quartz goes wrong
  const JUMP_MS = 250;

  const shop = (window.flashdrop ??= {});
  // A preview stands still at one moment, and asks nobody for the time.
  const stillAt = Date.parse(document.body.dataset.stillAt ?? "");
  let best = null; // the measurement that is wrong by the least: `lead` over performance.now(), `error`, `at`
  let lead = deviceLead();
  let tries = 0; // in a row, without a sharp one
  let timer;

  // The two clocks of the device go apart only when one is set, or stands still while the device sleeps.
  function deviceLead() {
    return Date.now() - performance.now();
  }

  function hasJumped() {
    const before = lead;
    lead = deviceLead();
    if (Math.abs(lead - before) <= JUMP_MS) return false;
    best = null;
    return true;
  }

  // Half of the way there and back is the guess; it is wrong by half of it at most, when all of it was one way.
  const errorOf = (measured) => measured.error + (performance.now() - measured.at) * DRIFT;

  // The server's own clock was set, or another server answers.
  const contradicts = (measured, known) => Math.abs(measured.lead - known.lead) > measured.error + errorOf(known) + JUMP_MS;

  async function measure() {
    clearTimeout(timer);
    const sku = document.getElementById("banner")?.dataset.sku;
    if (!sku || document.hidden) return;
    let measured = null;
    try {
      hasJumped();
      const sent = performance.now();
      const address = `/api/products/${encodeURIComponent(sku)}/sale-status`;
      // The answer's ETag ignores the time of day in it, so a cache must stay out of this.
      const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
      const at = performance.now();
      const serverTime = Date.parse((await response.json()).data?.serverTime);
      const error = (at - sent) / 2;
      if (!Number.isNaN(serverTime) && !hasJumped()) measured = { lead: serverTime + error - at, error, at };
    } catch {
      // Offline: the last measurement still holds.
    }
    if (measured && (!best || measured.error <= errorOf(best) || contradicts(measured, best))) best = measured;
    if (measured) document.dispatchEvent(new CustomEvent("flashdrop:clock"));
    tries = measured && (measured.error <= SHARP_MS || tries >= SHARPER_TRIES) ? 0 : tries + 1;
    const pause = tries ? Math.min(AGAIN_MAX_MS, measured ? AGAIN_MS : AGAIN_MS * 2 ** (tries - 1)) : MEASURE_EVERY_MS;
    clearTimeout(timer);
    timer = setTimeout(measure, pause * (0.75 + Math.random() / 2));
  }

  // Null while nobody knows: not asked yet, or the device has slept or been set since.
  shop.now = () => {
    if (stillAt) return stillAt;
    if (hasJumped()) measure();
    return best && best.lead + performance.now();
  };

  if (stillAt) return;
  document.addEventListener("flashdrop:wake", ({ detail }) => {
    if (detail.missed) best = null;
    measure();
  });
  measure();
})();
