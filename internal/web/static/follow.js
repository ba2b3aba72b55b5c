// What is nicer with a script on pages about something that goes on: they show what has come of it, and count down to what
// comes next. Without scripts the same pages are reloaded by hand, and have the exact time.
(() => {
  "use strict";
  const say = (text) => {
    const status = document.getElementById("status");
    if (status && text) status.textContent = text;
  };

  // How long it is until a moment. The moment itself stands beside it, in the viewer's zone.
  const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
  const left = (at) => {
    const seconds = Math.round((at - Date.now()) / 1000);
    if (!(seconds > 0)) return "now";
    const parts = [[Math.floor(seconds / 86400), "d"], [Math.floor(seconds / 3600) % 24, "h"], [Math.floor(seconds / 60) % 60, "min"], [seconds % 60, "s"]];
    const first = parts.findIndex(([n]) => n > 0);
    return `in ${parts.slice(first, first + 2).map(([n, unit]) => `${n} ${unit}`).join(" ")}`;
  };
  const count = () => {
    for (const part of document.querySelectorAll("[data-until]")) part.textContent = left(Date.parse(part.dataset.until));
    for (const time of document.querySelectorAll("time[data-whole]")) time.textContent = whole.format(new Date(time.dateTime));
  };
  count();
  setInterval(count, 1000);

  // The parts of this page as they are now. It returns the page that was fetched, null when it could not be. What somebody
  // has unfolded stays unfolded.
  let asked = 0;
  const refresh = async () => {
    const turn = ++asked;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "error", headers: { Accept: "text/html" } });
      const html = answer.ok ? await answer.text() : "";
      if (!html || turn !== asked) return null;
      const open = [...document.querySelectorAll("[data-part] details[open][id]")].map((one) => one.id);
      document.dispatchEvent(new CustomEvent("patchbay:page", { detail: html }));
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
      count();
      return new DOMParser().parseFromString(html, "text/html");
    } catch {
      return null; // the next turn may have more luck
    }
  };
  const ended = (page, still) => {
    if (!page || page.querySelector(still)) return false;
    say(page.querySelector("h1")?.textContent);
    return true;
  };

  // One delivery: it is fetched again when something has happened to it, and once at the beginning, for what happened between
  // drawing and listening.
  const followed = document.querySelector("[data-follow]");
  if (followed) {
    const source = new EventSource(followed.dataset.follow);
    const look = async () => {
      if (ended(await refresh(), "[data-follow]")) source.close();
    };
    source.addEventListener("open", look);
    source.addEventListener("new", look);
    addEventListener("pagehide", () => source.close());
  }

  // Jobs: they are fetched again every other second, while somebody looks.
  const poll = async () => {
    if (!document.hidden && ended(await refresh(), "[data-poll]")) return;
    setTimeout(poll, 2000);
  };
  if (document.querySelector("[data-poll]")) setTimeout(poll, 1000);
})();
