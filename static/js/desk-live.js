// The live view: asks for the figures once a second while somebody looks, and says plainly when they are old.
(() => {
  "use strict";

  const EVERY_MS = 1_000;
  const PATIENCE_MS = 4_000;
  const OLD_MS = 5_000; // so long without an answer, and the page says so
  const SIGNED_OUT = [401, 403];
  const root = document.getElementById("live");
  if (!root) return;

  const by = (id) => document.getElementById(id);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let aheadMs = Number(root.dataset.now) - Date.now(); // the gate's clock minus this device's
  let answeredAt = Date.now();
  let isRefused = false;
  let timer;
  let asking = null;
  const knownAt = new Map(); // figure to when it was last known, by the gate's clock

  const clock = (ms) => `${new Date(ms).toISOString().slice(11, 19)} UTC`;
  const set = (element, text) => element && element.textContent !== text && (element.textContent = text);

  function countdown() {
    const place = by("live-countdown");
    if (!place.dataset.at) return;
    const seconds = Math.max(0, Math.ceil((Number(place.dataset.at) - Date.now() - aheadMs) / 1000));
    const two = (n) => String(n).padStart(2, "0");
    const days = Math.floor(seconds / 86_400);
    const text = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
    set(place, days ? `${days} d ${text}` : text);
  }

  function state(name, text) {
    by("live-state").parentElement.dataset.state = name;
    set(by("live-state"), text);
  }

  function tell() {
    const agoMs = Date.now() - answeredAt;
    const lastKnown = `The figures are from ${clock(answeredAt + aheadMs)}, ${Math.round(agoMs / 1000)} s ago.`;
    if (isRefused) state("lost", `You are signed out, or no longer allowed to see this. ${lastKnown} Load the page again.`);
    else if (agoMs >= OLD_MS) state("lost", `Connection lost. ${lastKnown} Trying again every second.`);
    else state("live", `Live. ${clock(Date.now() + aheadMs)}`);
    root.classList.toggle("is-lost", agoMs >= OLD_MS || isRefused);
  }

  // What is not known keeps its last value, and says since when.
  function old(element, name, isKnown, now) {
    if (isKnown) knownAt.set(name, now);
    element.hidden = isKnown;
    if (!isKnown) set(element, knownAt.has(name) ? `Not known now. Last known at ${clock(knownAt.get(name))}.` : "Not known now.");
  }

  function showFigures(figures, now) {
    for (const [name, figure] of Object.entries(figures)) {
      const tile = root.querySelector(`[data-figure="${name}"]`);
      tile.classList.toggle("is-old", !figure);
      if (figure) {
        set(tile.querySelector("[data-value]"), figure.value);
        set(tile.querySelector("[data-note]"), figure.note);
      }
      old(tile.querySelector("[data-old]"), name, Boolean(figure), now);
    }
  }

  // A chart comes as the server draws it; what moved since the last one glides instead of jumping.
  function showChart(figure, html) {
    const fresh = new DOMParser().parseFromString(html, "text/html").querySelector("figure");
    for (const part of figure.querySelectorAll("[data-part]")) {
      if (part.dataset.part === "table" && !part.closest("details").open) continue;
      const news = fresh.querySelector(`[data-part="${part.dataset.part}"]`);
      const movedBy = Number(news.dataset.ends) - Number(part.dataset.ends);
      const span = Number(news.dataset.ends) - Number(news.dataset.begins);
      if (part.innerHTML !== news.innerHTML) part.innerHTML = news.innerHTML;
      for (const { name, value } of news.attributes) part.setAttribute(name, value);
      const moving = part.querySelector(".chart-moving");
      if (moving && movedBy > 0 && movedBy < 5 && !calm.matches) {
        const shift = (1000 * movedBy) / span;
        moving.animate([{ transform: `translateX(${shift}px)` }, { transform: "none" }], { duration: EVERY_MS, easing: "linear" });
      }
    }
  }

  function showCharts(charts, now) {
    old(by("live-charts-old"), "charts", Boolean(charts), now);
    if (!charts) return;
    const place = by("live-charts");
    if (!place.querySelector("figure")) place.innerHTML = charts.rate + charts.answers + charts.outcomes + charts.viewers;
    else for (const [name, html] of Object.entries(charts)) showChart(by(`chart-${name}`), html);
  }

  function show(live) {
    if (live.phase !== root.dataset.phase) {
      root.dataset.phase = live.phase;
      set(by("live-announcer"), `${live.phase_words}. ${live.phase_note}`);
    }
    set(by("live-phase-words"), live.phase_words);
    set(by("live-phase-note"), live.phase_note);
    by("live-edge").hidden = !live.edge;
    set(by("live-edge-word"), live.edge ? live.edge.word : "");
    by("live-countdown").dataset.at = live.edge ? live.edge.at : "";
    showFigures(live.figures, live.now);
    if (live.figures.left) by("live-left").setAttribute("width", `${live.left_percent}%`);
    for (const check of live.checks) {
      const line = root.querySelector(`[data-check="${check.name}"]`);
      line.dataset.state = check.state;
      set(line, check.words);
    }
    showCharts(live.charts, live.now);
    countdown();
  }

  async function ask() {
    clearTimeout(timer);
    if (document.hidden || asking) return;
    const begun = performance.now();
    try {
      asking = fetch(root.dataset.url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
      const response = await asking;
      isRefused = SIGNED_OUT.includes(response.status);
      if (response.ok) {
        const live = await response.json();
        aheadMs = live.now + (performance.now() - begun) / 2 - Date.now();
        answeredAt = Date.now();
        show(live);
      }
    } catch {
      // No answer: `tell` says so.
    }
    asking = null;
    tell();
    timer = setTimeout(ask, Math.max(100, EVERY_MS - (performance.now() - begun)));
  }

  document.addEventListener("visibilitychange", () => document.hidden || ask());
  window.addEventListener("pageshow", (event) => event.persisted && ask());
  setInterval(() => document.hidden || (countdown(), tell()), 250);
  countdown();
  ask();
})();
