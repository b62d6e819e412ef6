// The name, the price and the limit of the sale, wherever the page shows them, as the newest banner has them; the price as
// the panel has it, where the answer to a try knew of a newer one.
(() => {
  "use strict";

  function follow() {
    const [banner, me] = ["banner", "me"].map((id) => document.getElementById(id)?.dataset);
    if (!banner) return;
    const news = { ...banner, ...(Number(me?.version) > Number(banner.version) && { price: me.price }) };
    for (const place of document.querySelectorAll("[data-shows]")) {
      const kind = place.dataset.shows;
      const [words, before] = [news[kind], place.textContent];
      if (words === undefined || words === before) continue;
      place.textContent = words;
      if (kind === "name") document.title = document.title.replace(before, () => words);
      else document.getElementById("announcer").textContent = words;
    }
  }

  document.addEventListener("htmx:load", follow);
})();
