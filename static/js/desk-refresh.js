// Keeps a part of a page fresh: `data-refresh` is its address, `data-every` the seconds between two looks,
// `data-while` (optional) what must be in it for another look. A button `data-pause` stops it. What stands in `data-announce` is told to screen readers when it changes.
(() => {
  "use strict";

  const teller = document.createElement("p");
  teller.className = "desk-teller";
  teller.setAttribute("role", "status");
  document.body.append(teller);

  function keepFresh(part) {
    const { refresh, every } = part.dataset;
    const wanted = part.dataset.while;
    const pause = document.querySelector(`[data-pause="${part.id}"]`);
    let isPaused = false;
    let isAsking = false;
    let timer;

    const said = () => part.querySelector("[data-announce]")?.textContent.trim() ?? "";

    async function look() {
      if (isAsking) return;
      isAsking = true;
      clearTimeout(timer);
      part.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(refresh, { cache: "no-store", headers: { "X-Requested-With": "fetch" } });
        // Signed out meanwhile, or no longer allowed: the whole page says so, and shows the way to sign in.
        if (answer.redirected || [401, 403].includes(answer.status)) return void location.reload();
        if (!answer.ok) throw new Error(String(answer.status));
        const before = said();
        const opened = new Set([...part.querySelectorAll("details[open][id]")].map((one) => one.id));
        part.innerHTML = await answer.text();
        for (const id of opened) document.getElementById(id)?.setAttribute("open", "");
        part.removeAttribute("data-stale");
        if (said() !== before) teller.textContent = said();
      } catch {
        // What is shown may no longer be true: it says so until an answer comes.
        part.setAttribute("data-stale", "");
      } finally {
        part.removeAttribute("aria-busy");
        isAsking = false;
        plan();
      }
    }

    function plan() {
      clearTimeout(timer);
      if (isPaused || (wanted && !part.querySelector(wanted))) return;
      timer = setTimeout(() => (document.hidden ? plan() : look()), Number(every) * 1000);
    }

    pause?.addEventListener("click", () => {
      isPaused = !isPaused;
      pause.setAttribute("aria-pressed", String(isPaused));
      plan();
    });
    pause?.removeAttribute("hidden");
    plan();
  }

  for (const print of document.querySelectorAll("[data-print]")) {
    print.removeAttribute("hidden");
    print.addEventListener("click", () => window.print());
  }
  // What is folded away would be missing on paper.
  window.addEventListener("beforeprint", () => {
    for (const one of document.querySelectorAll("[data-refresh] details")) one.open = true;
  });
  for (const part of document.querySelectorAll("[data-refresh]")) keepFresh(part);
})();
