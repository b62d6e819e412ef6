// The viewer's panel: the newest answer, asked for again whenever it may have become old, honest words when none comes,
// and the focus on it when it was waited for.
(() => {
  "use strict";

  const RETRY_MS = 1_500;
  const RETRY_MAX_MS = 15_000;
  const SPREAD_MS = 500;
  const LOOKS = 8; // after something that got no answer: it may still come to be
  const sentAt = new WeakMap(); // by request
  let postedAt = -Infinity; // the last thing that the viewer did
  let retries = 0;
  let looks = 0; // left
  let timer;
  let following = null;
  let before = { state: null, focus: null }; // the panel that the next one replaces

  const me = () => document.getElementById("me");
  const isForMe = (event) => event.detail.target?.id === "me";
  const banner = () => document.getElementById("banner");
  const versionOf = (root) => Number(root?.dataset.version ?? 0);
  // What makes a panel another one: how it stands, for whom, which units and order, what it offers.
  const parts = (panel) => Array.from(panel.querySelectorAll("bdi, strong, .status"), (part) => part.textContent);
  const gist = (panel) => [panel.dataset.state, panel.dataset.offer, ...parts(panel)].join("\n");

  // Made for another price or limit than the banner has heard of by now.
  function isBehind({ dataset: { offer } }) {
    return Boolean(offer && banner()?.dataset.offer) && offer !== banner().dataset.offer && versionOf(banner()) > versionOf(me());
  }

  // What was asked before the viewer did something is old; what says the same leaves alone what is being read or typed;
  // and no panel gives way to the same one of an older offer.
  function isNews(panel, xhr) {
    const [now, then] = [me().dataset, panel.dataset];
    const isOlderOffer = versionOf(panel) < versionOf(me()) && then.offer !== now.offer && then.state === now.state;
    return sentAt.get(xhr) >= postedAt && gist(panel) !== gist(me()) && !isOlderOffer;
  }

  // An answer to what the viewer has just done is on its way, and says more.
  const isBusy = () => me().matches(".htmx-request") || me().querySelector(".htmx-request");

  function ask() {
    clearTimeout(timer);
    const sku = banner()?.dataset.sku;
    if (!window.htmx || !sku || !me() || isBusy()) return;
    if (me().dataset.state === "leaving") return; // whoever went to look at their receipt comes back to the question
    const { lang } = document.documentElement;
    const address = `/sales/${encodeURIComponent(sku)}/me?lang=${lang}&seen=${versionOf(banner())}`;
    htmx.ajax("GET", address, { source: me(), target: me(), swap: "outerHTML" }).catch(() => {});
  }

  function askAgain() {
    looks = Math.max(0, looks - 1);
    clearTimeout(timer);
    timer = setTimeout(ask, Math.min(RETRY_MAX_MS, RETRY_MS * 2 ** retries++) * (0.5 + Math.random()));
  }

  // An answer without a panel (a gateway's error page, a rate limiter's) leaves the form and its attempt as they are.
  function judge(event) {
    if (!isForMe(event)) return;
    const { requestConfig, xhr } = event.detail;
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
    const panel = answer.getElementById("me");
    const isAsked = requestConfig.verb === "get";
    if (!panel) {
      event.detail.shouldSwap = false;
      tellFailure(requestConfig, messageIn(answer));
      return;
    }
    retries = 0;
    clearTimeout(timer);
    if (!isAsked) looks = 0;
    else if (sentAt.get(xhr) > postedAt && gist(panel) === gist(me())) tellUnchanged();
    if (isAsked && !isNews(panel, xhr)) {
      event.detail.shouldSwap = false;
      if (looks > 0 || isBehind(me())) askAgain();
      return;
    }
    const focus = document.activeElement;
    before = { state: me().dataset.state, focus: me().contains(focus) ? focus : null };
  }

  // The form follows a change of price or limit; not on every page in the same instant.
  function follow() {
    if (following || !me() || !isBehind(me())) return;
    following = setTimeout(() => {
      following = null;
      ask();
    }, Math.random() * SPREAD_MS);
  }

  // A gateway says it in every language it knows; ours, or nothing.
  function messageIn(answer) {
    const language = document.documentElement.lang.slice(0, 2);
    const isOurs = (place) => place.closest("[lang]")?.lang.slice(0, 2) === language;
    return [...answer.querySelectorAll("[data-message]")].find(isOurs)?.textContent;
  }

  function tellFailure({ elt, verb }, words) {
    // Whether what the viewer did got through is for the panel to say: it may have, and only its answer was lost.
    if (verb === "post") looks = LOOKS;
    if (elt.dataset.state !== "pending") askAgain();
    if (!elt.dataset.failed) return;
    elt.classList.remove("panel-waiting"); // the words and the way without scripts are to be seen now
    const note = elt.querySelector("[data-note]") ?? document.createElement("p");
    note.className = "notice";
    note.dataset.note = "";
    note.setAttribute("role", "alert");
    if (!note.isConnected) elt.prepend(note);
    note.textContent = words || elt.dataset.failed;
    note.toggleAttribute("data-unheard", verb === "post" && !words);
  }

  // Looked, and nothing has come of it yet: more than this isn't known.
  function tellUnchanged() {
    const note = me().querySelector("[data-unheard]");
    if (!note) return;
    note.removeAttribute("data-unheard");
    note.textContent = note.closest("form").dataset.unchanged;
  }

  // The answer to something the viewer did, or what took the place they were at, gets the focus; other news is told.
  function settle(event) {
    if (event.target.id !== "me") return;
    const title = event.target.querySelector("h2");
    if (!title) return;
    const isAnswer = event.detail.requestConfig?.verb === "post";
    if (isAnswer || before.focus) {
      const same = isAnswer || !before.focus.id ? null : document.getElementById(before.focus.id);
      (same ?? title).focus({ preventScroll: true });
      event.target.scrollIntoView({ block: "nearest" });
    } else if (before.state === "pending") {
      document.getElementById("announcer").textContent = title.textContent;
    }
  }

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!isForMe(event)) return;
    sentAt.set(event.detail.xhr, performance.now());
    if (event.detail.requestConfig.verb === "post") postedAt = performance.now();
  });
  document.addEventListener("htmx:beforeSwap", judge);
  document.addEventListener("htmx:afterSettle", settle);
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => isForMe(event) && tellFailure(event.detail.requestConfig));
  }
  document.addEventListener("htmx:load", follow);
  document.addEventListener("flashdrop:wake", ask);
  document.addEventListener("flashdrop:ask", ask);
})();
