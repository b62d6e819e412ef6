// What one tab does, the others hear: after signing in, signing out or buying, each asks for its panel again.
(() => {
  "use strict";

  if (!window.BroadcastChannel) return; // they ask when they are shown again (panel.js)
  const channel = new BroadcastChannel("flashdrop");

  document.addEventListener("htmx:afterRequest", (event) => {
    const { target, requestConfig, xhr } = event.detail;
    if (target?.id === "me" && requestConfig?.verb === "post" && xhr.status) channel.postMessage("panel");
  });
  channel.addEventListener("message", () => document.dispatchEvent(new CustomEvent("flashdrop:ask")));
})();
