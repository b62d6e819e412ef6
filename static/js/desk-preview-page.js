// Inside the preview's frame: links lead nowhere, since the shop's other pages may not be framed.
(() => {
  "use strict";

  document.addEventListener("click", (event) => event.target.closest("a") && event.preventDefault());
})();
