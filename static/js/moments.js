// Writes every moment on the page in the viewer's own zone, and names it: what the server wrote in UTC as
// `time[data-moment]` (`flashdrop.languages.moment_html`), whenever it came.
(() => {
  "use strict";

  // As the server writes them: the page's language, its digits, a day before a time.
  const LOCALE = `${document.documentElement.lang}-u-nu-latn`;
  const COMMA = LOCALE.startsWith("ar") ? "،" : ",";
  const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  let day, clock, seconds, zoned; // formats of the zone the device is in

  function arrive() {
    const format = (options) => new Intl.DateTimeFormat(LOCALE, options);
    day = format({ dateStyle: "medium" });
    clock = format(CLOCK);
    seconds = format({ ...CLOCK, second: "2-digit" });
    zoned = format({ timeZoneName: "short" });
    rewrite();
  }

  const dateOf = (time) => new Date(time.dateTime);
  const zone = (date) => zoned.formatToParts(date).find((part) => part.type === "timeZoneName").value;

  // In a range the day is said once if it is one day, and the zone once if it is one zone.
  function textOf(time) {
    const date = dateOf(time);
    const start = time.previousElementSibling?.matches('[data-moment="from"]') && dateOf(time.previousElementSibling);
    const end = time.dataset.moment === "from" && dateOf(time.nextElementSibling);
    const days = start && day.format(start) === day.format(date) ? "" : `${day.format(date)}${COMMA} `;
    const zones = end && zone(end) === zone(date) ? "" : ` ${zone(date)}`;
    return days + (time.dataset.moment === "seconds" ? seconds : clock).format(date) + zones;
  }

  function rewrite() {
    for (const time of document.querySelectorAll("time[data-moment]")) {
      const text = textOf(time);
      if (time.textContent !== text) time.textContent = text;
    }
  }

  document.addEventListener("htmx:load", rewrite);
  document.addEventListener("flashdrop:wake", arrive); // perhaps in another zone
  arrive();
})();
