// The viewer's panel: one attempt number for each try that is meant, a buy button in step with the sale, honest words
// when an answer doesn't come, and the focus on the answer when it does.
(() => {
  "use strict";

  const RETRY_MS = 1_500;
  const RETRY_MAX_MS = 15_000;
  let retries = 0;
  let kept = ""; // the attempt of a try that came to nothing on the shop's side: pressing again repeats it
  let before = { state: null, hadFocus: false }; // the panel that the next one replaces

  const me = () => document.getElementById("me");
  const isForMe = (event) => event.detail.target?.id === "me";

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

  function refuseWhileClosed(event) {
    if (!event.target.querySelector('button[aria-disabled="true"]')) return;
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  // An answer without a panel (a gateway's error page, a rate limiter's) leaves the form and its attempt as they are.
  function judge(event) {
    if (event.detail.target?.id === "receipt" && !event.detail.xhr.responseText.includes('id="receipt"')) {
      event.detail.shouldSwap = false;
    }
    if (!isForMe(event)) return;
    const answer = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
    const panel = answer.getElementById("me");
    before = { state: me().dataset.state, hadFocus: me().contains(document.activeElement) };
    if (!panel) {
      event.detail.shouldSwap = false;
      tellFailure(event.detail.requestConfig.elt, messageIn(answer));
    } else if (panel.dataset.state === "pending" && before.state === "pending") {
      event.detail.shouldSwap = false; // nothing new; what is being read stays
    } else {
      retries = 0;
      kept = event.detail.xhr.status === 503 ? (event.detail.requestConfig.elt.elements?.attempt?.value ?? "") : "";
    }
  }

  // A gateway says it in every language it knows; ours, or nothing.
  function messageIn(answer) {
    const language = document.documentElement.lang.slice(0, 2);
    const isOurs = (place) => place.closest("[lang]")?.lang.slice(0, 2) === language;
    return [...answer.querySelectorAll("[data-message]")].find(isOurs)?.textContent;
  }

  function tellFailure(elt, words) {
    if (elt.dataset.state === "loading") {
      const pause = Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** retries++) * (0.5 + Math.random());
      setTimeout(() => elt.isConnected && elt.dispatchEvent(new CustomEvent("again")), pause);
    }
    if (elt.tagName !== "FORM") return;
    const note = elt.querySelector("[data-note]") ?? document.createElement("p");
    note.className = "notice";
    note.dataset.note = "";
    note.setAttribute("role", "alert");
    if (!note.isConnected) elt.prepend(note);
    note.textContent = words || elt.dataset.failed;
  }

  // The answer to something the viewer did, or what took the place they were at, gets the focus; other news is told.
  function settle(event) {
    if (event.target.id === "receipt") {
      document.getElementById("announcer").textContent = event.target.querySelector("h1").textContent;
    }
    if (event.target.id !== "me") return;
    const title = event.target.querySelector("h2");
    if (!title) return;
    if (event.detail.requestConfig?.verb === "post" || before.hadFocus) {
      title.focus({ preventScroll: true });
      event.target.scrollIntoView({ block: "nearest" });
    } else if (before.state === "pending") {
      document.getElementById("announcer").textContent = title.textContent;
    }
  }

  document.addEventListener("submit", refuseWhileClosed, true);
  document.addEventListener("htmx:beforeSwap", judge);
  document.addEventListener("htmx:afterSettle", settle);
  document.addEventListener("htmx:sendError", (event) => isForMe(event) && tellFailure(event.detail.requestConfig.elt));
  document.addEventListener("htmx:timeout", (event) => isForMe(event) && tellFailure(event.detail.requestConfig.elt));
  // A page that comes back from the browser's memory may show a past that is no longer true.
  window.addEventListener("pageshow", (event) => {
    const sku = document.getElementById("banner")?.dataset.sku;
    if (event.persisted && sku && me()) {
      const address = `/sales/${encodeURIComponent(sku)}/me?lang=${document.documentElement.lang}`;
      htmx.ajax("GET", address, { target: "#me", swap: "outerHTML" });
    }
  });
  document.addEventListener("htmx:load", keepInStep);
  keepInStep();
})();
