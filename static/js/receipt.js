// A receipt that is not confirmed yet asks again by itself: an answer without a receipt changes nothing, another state is
// said aloud.
(() => {
  "use strict";

  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (detail.target?.id === "receipt" && !detail.xhr.responseText.includes('id="receipt"')) detail.shouldSwap = false;
  });
  document.addEventListener("htmx:afterSettle", ({ target }) => {
    if (target.id === "receipt") document.getElementById("announcer").textContent = target.querySelector("h1").textContent;
  });
})();
