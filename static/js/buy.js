// The buy form: one attempt number for each try that is meant, a choice that can be had and what it costs, and a button
// in step with the sale.
(() => {
  "use strict";

  const ON_ITS_WAY_MS = 500; // a click this soon after the answer was meant for the button before it
  let kept = ""; // the attempt of a try that came to nothing on the shop's side: pressing again repeats it
  let answeredAt = -Infinity; // or since when the form says something else
  let wanted = 1; // what the viewer has chosen, however much of it can be had now
  let price = ""; // of the last form

  // `randomUUID` needs a secure context; a shop on a local network may not be one.
  function newAttempt() {
    if (crypto.randomUUID) return crypto.randomUUID();
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  function prepare(form, available) {
    if (form.dataset.prepared) return;
    form.dataset.prepared = "true";
    const { attempt, currency, price: unit, quantity } = form.elements;
    attempt.value = kept || newAttempt();
    kept = "";
    // Another price under the finger is not what was meant.
    const before = price;
    price = `${unit?.value} ${currency?.value}`;
    if (before && before !== price) answeredAt = performance.now();
    if (!quantity.options) return;
    // The answer to a try may know of less than the banner does.
    Object.assign(form.dataset, { left: most(quantity), heard: available });
    // The server has chosen where it tells what came of a try.
    wanted = Math.max(wanted, Number(quantity.value));
    quantity.value = Math.min(wanted, most(quantity));
    quantity.addEventListener("change", () => {
      wanted = Number(quantity.value);
      attempt.value = newAttempt(); // another quantity is another wish, not a repetition
      keepInStep();
    });
  }

  const most = ({ options }) => Math.max(1, ...Array.from(options, (option) => (option.disabled ? 0 : Number(option.value))));

  // No more than are left, of what the viewer wants. Where nothing is left the button says so.
  function choose({ dataset: { left, heard }, elements: { attempt, quantity } }, available) {
    if (!quantity.options || !Number(available)) return;
    const limit = available === heard ? Math.min(left, available) : Number(available);
    for (const option of quantity.options) option.disabled = option.hidden = Number(option.value) > limit;
    const best = Math.min(wanted, most(quantity));
    if (Number(quantity.value) === best) return;
    quantity.value = best;
    attempt.value = newAttempt();
    answeredAt = performance.now();
  }

  function tell(place, words) {
    if (place.textContent !== words) place.textContent = words;
  }

  function keepInStep() {
    const { phase, available } = document.getElementById("banner")?.dataset ?? {};
    for (const form of document.querySelectorAll("form[data-buy]")) {
      prepare(form, available);
      choose(form, available);
      const button = form.querySelector("button");
      const hint = form.querySelector("[data-hint]");
      const words = button.querySelector("[data-words]") ?? button;
      const sum = button.querySelector("[data-sum]");
      words.dataset.open ??= words.textContent;
      hint.dataset.open ??= hint.textContent;
      tell(words, button.dataset[phase] ?? words.dataset.open);
      tell(hint, hint.dataset[phase] ?? hint.dataset.open);
      const total = form.elements.quantity.selectedOptions?.[0]?.dataset.total;
      if (total) tell(sum, ` · ${total}`);
      if (sum) sum.hidden = phase in button.dataset;
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
    if (requestConfig.verb === "post" && xhr.status < 300) wanted = 1;
    if (requestConfig.elt.matches("form[data-buy]")) {
      kept = xhr.status === 503 ? requestConfig.elt.elements.attempt.value : "";
    }
  });
  document.addEventListener("htmx:load", keepInStep);
  keepInStep();
})();
