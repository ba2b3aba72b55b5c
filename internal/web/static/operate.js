// What is nicer with a script on operators' pages: a list says what has arrived since, a countdown counts, and a job's
// page follows it. Without scripts the same pages are reloaded by hand.
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

  // How long it is until a moment, beside the moment itself.
  const left = (at) => {
    const seconds = Math.max(0, Math.round((at - Date.now()) / 1000));
    if (seconds === 0) return "due now";
    const parts = [[Math.floor(seconds / 3600), "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
    return `in ${parts.filter(([n]) => n > 0).map(([n, unit]) => `${n} ${unit}`).join(" ")}`;
  };
  const counting = document.querySelectorAll("[data-until]");
  const count = () => {
    for (const part of counting) part.textContent = left(Date.parse(part.dataset.until));
  };
  if (counting.length > 0) {
    count();
    setInterval(count, 1000);
  }
})();
