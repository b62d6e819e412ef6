// The buy form: one attempt number for each try that is meant, and a button in step with the sale.
(() => {
  "use strict";

  const ON_ITS_WAY_MS = 500; // a click this soon after the answer was meant for the button before it
  let kept = ""; // the attempt of a try that came to nothing on the shop's side: pressing again repeats it
  let answeredAt = -Infinity;

  // `randomUUID` needs a secure context; a shop on a local network may not be one.
  function newAttempt() {
    if (crypto.randomUUID) return crypto.randomUUID();
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function prepare(form) {
    if (form.dataset.prepared) return;
    form.dataset.prepared = "true";
    const attempt = form.elements.attempt;
    attempt.value = kept || newAttempt();
    kept = "";
    // Another quantity is another wish, not a repetition.
    form.elements.quantity.addEventListener("change", () => (attempt.value = newAttempt()));
  }

  function keepInStep() {
    const phase = document.getElementById("banner")?.dataset.phase;
    for (const form of document.querySelectorAll("form[data-buy]")) {
      prepare(form);
      const button = form.querySelector("button");
      const hint = form.querySelector("[data-hint]");
      for (const place of [button, hint]) {
        place.dataset.open ??= place.textContent;
        const words = place.dataset[phase] ?? place.dataset.open;
        if (place.textContent !== words) place.textContent = words;
      }
      // Not `disabled`: whoever waits with the focus on the button keeps it.
      button.setAttribute("aria-disabled", String(phase in button.dataset));
    }
  }

  function refuse(event) {
    if (!event.target.matches("form[data-buy]")) return;
    const isTooSoon = performance.now() - answeredAt < ON_ITS_WAY_MS;
    if (!isTooSoon && !event.target.querySelector('button[aria-disabled="true"]')) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  document.addEventListener("submit", refuse, true);
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { requestConfig, shouldSwap, target, xhr } = event.detail;
    if (!shouldSwap || target.id !== "me") return;
    // Also where the order comes by itself, after the answer to the click was lost.
    if (xhr.responseText.includes('data-state="order"')) answeredAt = performance.now();
    if (requestConfig.elt.matches("form[data-buy]")) {
      kept = xhr.status === 503 ? requestConfig.elt.elements.attempt.value : "";
    }
  });
  document.addEventListener("htmx:load", keepInStep);
  keepInStep();
})();
