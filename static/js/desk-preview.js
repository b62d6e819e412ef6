// Fits each screen of the preview into the width it has; never larger than life.
(() => {
  "use strict";

  const watcher = new ResizeObserver((entries) => {
    for (const { target, contentRect } of entries) {
      const scale = Math.min(1, contentRect.width / Number(target.dataset.width));
      target.style.setProperty("--scale", scale.toFixed(4));
    }
  });
  for (const glass of document.querySelectorAll(".preview-glass")) watcher.observe(glass);
})();
