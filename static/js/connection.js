// Keeps the banner true while the socket is down, by polls, and says so; and says aloud what changes.
(() => {
  "use strict";

  const POLL_MS = 2_000;
  const POLL_MAX_MS = 15_000;
  const GRACE_MS = 3_000; // a quick reconnect is nobody's news
  const BEHIND_MS = 1_000; // one web process may be this far behind another

  if (!window.htmx || !document.querySelector("[ws-connect]")) return;
  const { isLive } = window.flashdrop;
  const note = document.getElementById("connection");
  const announcer = document.getElementById("announcer");
  const sentAt = new WeakMap(); // by request
  let downSince = performance.now(); // null while the socket lives
  let lookedAt = performance.now();
  let pushedAt = -Infinity; // the newest banner of the socket
  let failures = 0; // polls in a row that brought no banner
  let shown = null; // the text of the banner on show, once one has come
  let held = null; // the id of what had the focus inside the banner that is being replaced
  let timer;

  const banner = () => document.getElementById("banner");
  const jittered = (ms) => ms * (0.75 + Math.random() / 2);

  function tell() {
    const isDown = downSince !== null && performance.now() - downSince >= GRACE_MS;
    const state = !isDown ? "live" : failures || !navigator.onLine ? "lost" : "polling";
    document.documentElement.dataset.connection = state;
    const words = note.dataset[state];
    if (isDown && note.textContent !== words) note.textContent = words;
    if (note.hidden === !isDown) return;
    note.hidden = !isDown;
    // The note lies over the page; what has the focus must not lie under it.
    if (isDown && document.activeElement !== document.body) document.activeElement.scrollIntoView({ block: "nearest" });
  }

  // Whoever was at something in the banner is at the same thing in the next one, else at its heading.
  function holdFocus() {
    held = banner()?.contains(document.activeElement) ? document.activeElement.id : null;
  }

  function giveFocusBack() {
    if (held === null || banner()?.contains(document.activeElement)) return;
    (document.getElementById(held) ?? banner()?.querySelector("h2"))?.focus({ preventScroll: true });
  }

  function look() {
    lookedAt = performance.now();
    if (!document.hidden) banner()?.dispatchEvent(new CustomEvent("poll"));
  }

  // Counted from the last look, so that a socket that keeps opening and closing can't put it off.
  function schedule() {
    clearTimeout(timer);
    if (isLive()) return;
    const due = lookedAt + jittered(Math.min(POLL_MAX_MS, POLL_MS * 2 ** failures)) - performance.now();
    timer = setTimeout(
      () => {
        look();
        tell();
        schedule();
      },
      Math.max(due, jittered(300)),
    );
  }

  document.addEventListener("flashdrop:socket", ({ detail }) => {
    downSince = detail.isLive ? null : performance.now() - detail.silentMs;
    if (detail.isLive) failures = 0;
    if (detail.silentMs) look(); // nobody knows since when it was wrong
    else if (!detail.isLive) setTimeout(tell, GRACE_MS + 50);
    tell();
    schedule();
  });
  document.addEventListener("flashdrop:wake", () => {
    if (isLive()) return;
    failures = 0;
    look();
    schedule();
  });
  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    shown = event.detail.message;
    pushedAt = performance.now();
    holdFocus();
  });
  document.addEventListener("htmx:wsAfterMessage", giveFocusBack);
  document.addEventListener("htmx:afterSwap", giveFocusBack);

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.target?.id === "banner") sentAt.set(event.detail.xhr, performance.now());
  });
  // An error page of some gateway is no banner, the banner on show is no news, and one that the socket has overtaken is
  // old.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (target?.id !== "banner") return;
    const isBanner = xhr.responseText.includes('id="banner"');
    const isOld = isLive() && pushedAt > sentAt.get(xhr) - BEHIND_MS;
    // Whoever answers again may have an ear for a socket, too.
    if (isBanner && failures) document.dispatchEvent(new CustomEvent("flashdrop:reachable"));
    failures = isBanner ? 0 : failures + 1;
    if (!isBanner || isOld || xhr.responseText === shown) event.detail.shouldSwap = false;
    else shown = xhr.responseText;
    holdFocus();
    tell();
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      if (event.detail.target?.id !== "banner") return;
      failures += 1;
      tell();
    });
  }
  window.addEventListener("offline", tell);

  // A change of state is said aloud; each unit that goes is not.
  const stateOf = (root) => `${root?.dataset.phase} ${root?.dataset.low} ${root?.dataset.settling}`;
  let said = stateOf(banner());
  document.addEventListener("htmx:load", () => {
    const root = banner();
    if (!root || stateOf(root) === said) return;
    said = stateOf(root);
    const isLow = root.dataset.low === "true";
    announcer.textContent = root.querySelector(isLow ? ".plate-figure" : "h2").textContent.trim();
  });

  schedule();
})();
