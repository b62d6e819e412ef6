// The name, the price and the limit of the sale, wherever the page shows them, as the newest banner has them.
(() => {
  "use strict";

  function follow() {
    const news = document.getElementById("banner")?.dataset;
    if (!news) return;
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
