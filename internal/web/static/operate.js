// What is nicer with a script on operators' pages: a list says what has arrived since. Without scripts the
// same pages are reloaded by hand.
(() => {
  "use strict";
  const say = (text) => {
    const status = document.getElementById("status");
    if (status) status.textContent = text;
  };

  // New events: one line with how many, never a row that jumps.
  for (const line of document.querySelectorAll("[data-arrivals]")) {
    const to = line.querySelector("a");
    const source = new EventSource(line.dataset.arrivals);
    source.addEventListener("new", (event) => {
      const n = Number(event.data);
      const text = n === 1 ? "1 new event" : `${n} new events`;
      if (line.hidden) say("There are new events.");
      to.textContent = `Show ${text}`;
      line.hidden = false;
    });
    addEventListener("pagehide", () => source.close());
  }
})();
