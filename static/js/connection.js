// Keeps the banner true: the socket while it lives, a poll when it doesn't, a fresh look whenever the page wakes.
(() => {
  "use strict";

  const POLL_MS = 2_000;
  const POLL_MAX_MS = 15_000;
  const CHECK_MS = 30_000; // a socket may be dead without knowing; one look now and then finds out
  const GRACE_MS = 3_000; // a quick reconnect is nobody's news
  const ASLEEP_MS = 20_000;
  const BY_ITSELF = [1006, 1011, 1012, 1013]; // the extension reconnects after these close codes

  if (!window.htmx || !document.querySelector("[ws-connect]")) return;
  const note = document.getElementById("connection");
  const announcer = document.getElementById("announcer");
  let socket = null; // the newest, in whatever state
  let handle = null; // the extension's handle on it
  let downSince = Date.now(); // 0 while the socket lives
  let hiddenSince = 0;
  let lookedAt = Date.now();
  let failures = 0; // polls in a row that brought no banner
  let shown = null; // the text of the banner on show, once one has come
  let held = null; // the id of what had the focus inside the banner that is being replaced
  let timer;

  const banner = () => document.getElementById("banner");
  const isLive = () => socket?.readyState === WebSocket.OPEN;
  const jittered = (ms) => ms * (0.75 + Math.random() / 2);

  htmx.createWebSocket = (url) => (socket = new WebSocket(url));
  htmx.config.wsReconnectDelay = (retries) => Math.random() * Math.min(8_000, 1_000 * 2 ** retries);

  function tell() {
    const isDown = downSince > 0 && Date.now() - downSince >= GRACE_MS;
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
    lookedAt = Date.now();
    if (!document.hidden) banner()?.dispatchEvent(new CustomEvent("poll"));
  }

  // Counted from the last look, so that a socket that keeps opening and closing can't put it off.
  function schedule() {
    clearTimeout(timer);
    const pause = isLive() ? CHECK_MS : Math.min(POLL_MAX_MS, POLL_MS * 2 ** failures);
    const due = lookedAt + jittered(pause) - Date.now();
    timer = setTimeout(
      () => {
        look();
        tell();
        schedule();
      },
      Math.max(due, jittered(300)),
    );
  }

  function reconnect() {
    if (socket?.readyState === WebSocket.CLOSED && navigator.onLine) handle?.reconnect();
  }

  function wake(isMistrusted) {
    look();
    if (isMistrusted && isLive()) handle?.reconnect();
    else reconnect();
    schedule();
  }

  document.addEventListener("htmx:wsOpen", (event) => {
    handle = event.detail.socketWrapper;
    failures = 0;
    downSince = 0;
    tell();
    schedule();
  });
  document.addEventListener("htmx:wsClose", (event) => {
    const closed = event.detail.event;
    handle = event.detail.socketWrapper;
    if (closed.target !== socket) return; // an older one; the newest lives
    downSince ||= Date.now();
    if (!BY_ITSELF.includes(closed.code)) setTimeout(reconnect, jittered(2_000));
    setTimeout(tell, GRACE_MS + 50);
    schedule();
  });
  document.addEventListener("htmx:wsBeforeMessage", (event) => {
    shown = event.detail.message;
    holdFocus();
  });
  document.addEventListener("htmx:wsAfterMessage", giveFocusBack);
  document.addEventListener("htmx:afterSwap", giveFocusBack);

  // An error page of some gateway is no banner, and the banner on show is no news.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr } = event.detail;
    if (target?.id !== "banner") return;
    const isBanner = xhr.responseText.includes('id="banner"');
    failures = isBanner ? 0 : failures + 1;
    if (!isBanner || xhr.responseText === shown) event.detail.shouldSwap = false;
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

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenSince = Date.now();
    else wake(Date.now() - hiddenSince > ASLEEP_MS);
  });
  window.addEventListener("pageshow", (event) => event.persisted && wake(true));
  window.addEventListener("online", () => wake(false));
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
