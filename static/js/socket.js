// The socket's life. Open is not alive: the server says something every two seconds (sales/hub.py), and a socket that is
// silent for longer is dead, whatever the browser thinks. `flashdrop.isLive()` tells, `flashdrop:socket` that it changed.
(() => {
  "use strict";

  const BEAT = "<!--beat-->";
  const SILENCE_MS = 5_000;
  const SPREAD_MS = 1_000;
  const LATE_MS = 500; // a page that was itself held up for this long has not listened
  const OPENING_MS = 10_000;
  const [RETRY_MS, RETRY_MAX_MS] = [2_000, 10_000];
  const NEVER = 2 ** 31 - 1;

  const shop = (window.flashdrop ??= {});
  let socket = null; // the newest, in whatever state
  let handle = null; // the extension's handle on it
  let isLive = false;
  let heardAt = 0;
  let failed = 0; // tries in a row that brought nothing
  let silence;
  let retry;

  shop.isLive = () => isLive;
  if (!window.htmx || !document.querySelector("[ws-connect]")) return;

  // Anywhere in the time, so that ten thousand pages that lost it together don't come back together.
  shop.reconnectDelay = (failures) => Math.random() * Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** failures);
  // Left to the extension a second socket would be opened some time after ours, and ours be closed for it.
  htmx.config.wsReconnectDelay = () => NEVER;
  htmx.createWebSocket = (url) => {
    const made = (socket = new WebSocket(url));
    made.addEventListener("message", (event) => {
      // What an older socket still brings is old, and a beat is not for the extension.
      if (made !== socket || event.data === BEAT) event.stopImmediatePropagation();
      if (made === socket) heard();
    });
    setTimeout(() => made.readyState === WebSocket.CONNECTING && made.close(), OPENING_MS);
    return made;
  };

  function set(live, silentMs = 0) {
    if (isLive === live) return;
    isLive = live;
    document.dispatchEvent(new CustomEvent("flashdrop:socket", { detail: { isLive, silentMs } }));
  }

  function listen() {
    clearTimeout(silence);
    // Not all in the same instant, should it be the server that stands still.
    const due = performance.now() + SILENCE_MS + Math.random() * SPREAD_MS;
    silence = setTimeout(() => {
      // What came meanwhile may stand in the queue behind this very call.
      if (performance.now() - due > LATE_MS) return listen();
      set(false, SILENCE_MS);
      replaceLater();
    }, due - performance.now());
  }

  function heard() {
    heardAt = Date.now();
    failed = 0;
    clearTimeout(retry);
    listen();
    set(true);
  }

  function replaceLater() {
    clearTimeout(retry);
    retry = setTimeout(replace, shop.reconnectDelay(failed++));
  }

  // The end of a dead socket comes late: nobody waits for it.
  function leave() {
    clearTimeout(retry);
    clearTimeout(silence);
    if (!socket) return;
    socket.onclose = socket.onerror = null;
    socket.close();
  }

  function replace() {
    if (!handle) return; // the first one has not failed yet
    leave();
    handle.reconnect();
  }

  document.addEventListener("htmx:wsOpen", (event) => {
    handle = event.detail.socketWrapper;
    listen();
  });
  document.addEventListener("htmx:wsClose", (event) => {
    handle = event.detail.socketWrapper;
    if (event.detail.event.target !== socket) return;
    clearTimeout(silence);
    set(false);
    replaceLater();
  });
  document.addEventListener("flashdrop:wake", ({ detail }) => {
    const sinceMs = Date.now() - heardAt;
    const isOnItsWay = socket?.readyState === WebSocket.CONNECTING;
    if (!detail.missed && (isOnItsWay || (isLive && sinceMs >= 0 && sinceMs < SILENCE_MS))) return;
    set(false);
    failed = 0;
    replace();
  });
  document.addEventListener("flashdrop:reachable", () => {
    failed = 0;
    if (!isLive) replaceLater();
  });
  // Believed until something is heard all the same.
  window.addEventListener("offline", () => set(false, SILENCE_MS));
  // Not every browser keeps a page in its memory whose socket is open, and what comes there nobody reads.
  window.addEventListener("pagehide", () => {
    leave();
    set(false);
  });
})();
