// What is nicer with a script on operators' pages: a list says what has arrived since, charts tell the numbers of the step
// under the pointer, and keys lead around. Without scripts the same pages are reloaded by hand, and charts have titles and
// tables.
(() => {
  "use strict";
  const root = document.documentElement;
  if (root.dataset.operates) return; // it was asked for twice
  root.dataset.operates = "yes";

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
      const { one = "event", many = "events" } = line.dataset;
      const text = n === 1 ? `1 new ${one}` : `${n} new ${many}`;
      if (line.hidden) say(`There are new ${many}.`);
      to.textContent = `Show ${text}`;
      line.hidden = false;
    });
    addEventListener("pagehide", () => source.close());
  }

  // Keys: "/" leads to where anything can be found; j and k go down and up a list; Escape leaves a field of search.
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable]");
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && typing && typing.type === "search" && !typing.value) typing.blur();
    if (typing) return;
    if (event.key === "/") {
      const find = document.getElementById("find");
      if (!find) return;
      event.preventDefault();
      if (!find.checkVisibility()) document.getElementById("side").showPopover();
      find.focus();
      find.select();
    }
    if (event.key === "j" || event.key === "k") {
      const rows = [...document.querySelectorAll("[data-rows] .row-link")];
      if (!rows.length) return;
      const at = rows.findIndex((row) => row.closest("tr, li").contains(document.activeElement));
      const to = at < 0 ? 0 : at + (event.key === "j" ? 1 : -1);
      if (!rows[to]) return;
      event.preventDefault();
      rows[to].focus();
      rows[to].scrollIntoView({ block: "nearest" });
    }
  });

  // Charts: the step under the pointer, or chosen with the arrow keys, has its numbers beside it.
  const span = (from, to) => {
    const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
    const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
    return `${day.format(from)}, ${clock.format(from)}–${day.format(from) === day.format(to) ? "" : `${day.format(to)}, `}${clock.format(to)}`;
  };

  for (const chart of document.querySelectorAll("figure.chart")) {
    const hits = [...chart.querySelectorAll(".hit")];
    const tip = chart.querySelector(".tip");
    const scrub = chart.querySelector(".scrub");
    if (!hits.length || !tip || !scrub) continue;
    const swatches = [...chart.querySelectorAll(".legend .swatch")];
    const words = hits.map((hit) => {
      const title = hit.querySelector("title");
      const lines = title.textContent.split("\n").slice(1);
      title.remove(); // or the browser shows it over ours
      const from = new Date(hit.dataset.at);
      return [span(from, new Date(from.getTime() + Number(chart.dataset.step) * 1000)), ...lines];
    });
    const show = (i) => {
      hits.forEach((hit, n) => hit.classList.toggle("at", n === i));
      tip.hidden = i < 0;
      if (i < 0) return;
      tip.replaceChildren(...words[i].map((text, n) => {
        const line = document.createElement(n ? "span" : "strong");
        if (n && swatches[n - 1]) line.append(swatches[n - 1].cloneNode());
        line.append(text);
        return line;
      }));
      const plot = chart.getBoundingClientRect();
      const hit = hits[i].getBoundingClientRect();
      const middle = hit.left + hit.width / 2 - plot.left;
      const room = plot.width - tip.offsetWidth - 8;
      const left = middle + 14 + tip.offsetWidth < plot.width ? middle + 14 : middle - 14 - tip.offsetWidth;
      tip.style.left = `${Math.max(8, Math.min(room, left))}px`;
      tip.style.top = `${hit.top - plot.top}px`;
      scrub.value = i;
      scrub.setAttribute("aria-valuetext", words[i].join(", "));
    };
    scrub.hidden = false;
    scrub.setAttribute("aria-valuetext", words[scrub.valueAsNumber].join(", "));
    scrub.addEventListener("focus", () => show(scrub.valueAsNumber));
    scrub.addEventListener("input", () => show(scrub.valueAsNumber));
    scrub.addEventListener("blur", () => show(-1));
    scrub.addEventListener("keydown", (event) => {
      if (event.key === "Escape") show(-1);
    });
    const plot = chart.querySelector(".plot");
    plot.addEventListener("pointermove", (event) => show(hits.indexOf(event.target)));
    plot.addEventListener("pointerleave", () => show(document.activeElement === scrub ? scrub.valueAsNumber : -1));
  }

  // The tree of scopes: what is below one that is folded is got when it is unfolded.
  const branches = async (fold) => {
    const below = fold.dataset.branches;
    delete fold.dataset.branches; // once is enough
    try {
      const answer = await fetch(below, { credentials: "same-origin", headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const list = page.querySelector(".scopes [aria-current] ~ ul");
      const here = fold.querySelector("ul");
      if (!answer.ok || !list || !here) throw new Error("no list");
      for (const more of list.querySelectorAll("details[data-branches]")) watch(more);
      here.replaceWith(document.adoptNode(list));
    } catch {
      say("What is below could not be loaded. The link leads to a page with it.");
    }
  };
  const watch = (fold) => fold.addEventListener("toggle", () => {
    if (fold.open && fold.dataset.branches) branches(fold);
  });
  for (const fold of document.querySelectorAll("details[data-branches]")) watch(fold);
})();
