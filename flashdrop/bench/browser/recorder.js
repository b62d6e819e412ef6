// Runs in each page of a benchmark before the page's own scripts, and keeps what is asked of it later. It changes
// nothing, but presses the buy button when it is told to. All moments are milliseconds since 1970, so that pages and the benchmark share one clock.
(() => {
  "use strict";

  const now = () => performance.timeOrigin + performance.now();
  const seen = (window.benchSeen = {
    phase: null,
    state: null,
    changedAt: 0, // when the banner's phase or the panel's state was last another one
    firstAt: {}, // phase to when it was first shown
    pressableAt: 0, // when a button of the panel could first be pressed
    presses: 0, // of the buy button while it was enabled
    covered: 0, // presses that something else would have got
    pressedAt: 0, // the first of them
    shift: 0, // layout shifts that nobody caused by a touch, added up, until the buy button was pressed
    shifted: [], // what moved
    shiftAfter: 0, // and since then: an answer that takes its time moves what is below it
  });
  let asking = null; // the panel that was on show when the buy button was pressed: its answer replaces it
  let waiting = [];

  const banner = () => document.getElementById("banner");
  const me = () => document.getElementById("me");
  const buy = () => document.getElementById("buy");
  const isEnabled = (button) => button && !button.disabled && button.getAttribute("aria-disabled") !== "true";

  function look() {
    const [phase, state] = [banner()?.dataset.phase ?? null, me()?.dataset.state ?? null];
    if (phase !== seen.phase || state !== seen.state) {
      Object.assign(seen, { phase, state, changedAt: now() });
      seen.firstAt[phase] ??= now();
    }
    if (asking && asking !== me()) asking = null;
    // A button that scripts have not looked at yet works as well: its form is sent without them.
    if (!seen.pressableAt && isEnabled(document.querySelector("#me button[type=submit]"))) seen.pressableAt = now();
    waiting = waiting.filter((isDone) => !isDone());
  }

  // What is there to do: "press" the button, or nothing, because this page's story is "over".
  function next() {
    if (asking) return null;
    if (["order", "taken", "given_up"].includes(seen.state)) return seen.phase === "sold_out" ? "over" : null;
    if (seen.state !== "ready") return null;
    if (seen.phase === "active" && isEnabled(buy())) return "press";
    return seen.phase === "sold_out" && !isEnabled(buy()) ? "over" : null;
  }

  // Once there is something to do, or nothing any more.
  const nextStep = () =>
    new Promise((resolve) => {
      const isDone = () => {
        const found = next();
        if (found) resolve(found);
        return Boolean(found);
      };
      if (!isDone()) waiting.push(isDone);
    });

  // Where a finger would meet it: whatever lies over it would get the touch instead.
  function press(button) {
    button.scrollIntoView({ block: "nearest" });
    const { left, top, width, height } = button.getBoundingClientRect();
    if (!button.contains(document.elementFromPoint(left + width / 2, top + height / 2))) seen.covered += 1;
    else button.click();
  }

  // Presses whenever the button can be pressed. Who was refused and may press again reads that first, for `againMs`,
  // and looks whether there is still reason to.
  window.benchBuy = async (againMs) => {
    let hasPressed = false;
    while ((await nextStep()) === "press") {
      if (hasPressed) await new Promise((resolve) => setTimeout(resolve, againMs));
      else press(buy());
      hasPressed = !hasPressed;
    }
  };

  window.benchLast = () => ({
    phase: seen.phase,
    state: seen.state,
    units: (me()?.querySelector(".ticket-units")?.textContent.match(/\d+/g) ?? []).map(Number),
    may_buy: Boolean(isEnabled(buy())),
    seen,
  });

  // Shifts count from now on.
  window.benchWait = () => Object.assign(seen, { shift: 0, shifted: [] });

  // Before the page hears of the click, which may disable the button.
  function onClick(event) {
    const button = buy();
    if (!button?.contains(event.target) || !isEnabled(button)) return;
    seen.presses += 1;
    seen.pressedAt ||= now();
    asking = me();
  }

  addEventListener("click", onClick, true);
  new MutationObserver(look).observe(document, {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ["data-phase", "data-state", "aria-disabled", "disabled"],
  });

  const nameOf = (node) => node?.id || node?.parentElement?.id || node?.className || node?.nodeName || "?";
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      if (entry.hadRecentInput) continue;
      if (seen.pressedAt && performance.timeOrigin + entry.startTime > seen.pressedAt) {
        seen.shiftAfter += entry.value;
        continue;
      }
      seen.shift += entry.value;
      seen.shifted.push(...entry.sources.map((source) => String(nameOf(source.node))));
    }
  }).observe({ type: "layout-shift", buffered: true });
})();
