// What is nicer with a script. Every page works without it: buttons of forms that are marked with data-live are sent in
// the background, and the parts of the answer that carry data-part take the place of the same parts here.
(() => {
  "use strict";
  const root = document.documentElement;
  root.classList.add("js");

  const say = (text) => {
    const status = document.getElementById("status");
    if (status) status.textContent = text;
  };

  // Times are written in UTC, for those who have no scripts; here they are the viewer's own. The exact one, in UTC and to the
  // millisecond, stays in the title. Those of the last hour are told as time that has passed, and follow the clock; in a list
  // whose rows are to be told apart (data-exact) that ends after a minute.
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const today = new Intl.DateTimeFormat(undefined, clock);
  const thisYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", ...clock });
  const earlier = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short", hourCycle: "h23" });
  const wholly = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long", hourCycle: "h23" });

  const spell = (at, now, exact, age) => {
    const seconds = Math.floor((now - at) / 1000);
    const far = Math.abs(seconds);
    if (far < 60 || (far < 3600 && !exact) || age) {
      if (far < 2) return "now";
      const [size, unit] = far < 60 ? [1, "s"] : far < 3600 ? [60, "min"] : far < 172800 ? [3600, "h"] : [86400, "days"];
      const words = `${Math.floor(far / size)} ${unit}`;
      return seconds < 0 ? `in ${words}` : `${words} ago`;
    }
    if (at.toDateString() === now.toDateString()) return today.format(at);
    return (at.getFullYear() === now.getFullYear() ? thisYear : earlier).format(at);
  };

  const times = (within) => {
    const now = new Date();
    for (const time of within.querySelectorAll("time[datetime]:not([data-own])")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      if (!time.dataset.said) {
        time.dataset.said = "yes";
        time.title = `${wholly.format(at)}\n${time.title}`;
      }
      const text = spell(at, now, time.hasAttribute("data-exact"), time.hasAttribute("data-age"));
      if (time.textContent !== text) time.textContent = text;
    }
    for (const axis of within.querySelectorAll("[data-axis]")) ticks(axis);
  };
  setInterval(() => {
    if (!document.hidden) times(document);
  }, 5000);

  // The labels of a chart's axis: hours, and under the first of each day its date.
  const hour = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const ticks = (axis) => {
    let day = "";
    for (const tick of axis.querySelectorAll("[data-tick]")) {
      const at = new Date(tick.dataset.tick);
      const [upper, lower] = tick.querySelectorAll("tspan");
      const turned = date.format(at) !== day;
      day = date.format(at);
      upper.textContent = lower ? hour.format(at) : day;
      if (lower) lower.textContent = turned ? day : "";
    }
  };

  const replace = (html, button) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const active = document.activeElement;
    const focus = active && active.id;
    const at = active && typeof active.selectionStart === "number" ? active.selectionStart : null;
    for (const part of document.querySelectorAll("[data-part]")) {
      const other = page.querySelector(`[data-part="${CSS.escape(part.dataset.part)}"]`);
      if (!other || part.innerHTML === other.innerHTML) continue;
      // What a person is typing into stays as it is, unless the button that they pressed is in there.
      const holds = part.hasAttribute("data-redraws") ? "input:not([type=search], [type=checkbox]), textarea" : "input:not([type=search]), textarea, select";
      if (active && part.contains(active) && active.matches(holds) && !part.contains(button)) continue;
      const typed = active && part.contains(active) ? active.value : null;
      part.replaceChildren(...document.importNode(other, true).childNodes);
      const again = focus && part.querySelector(`#${CSS.escape(focus)}`);
      if (again) {
        if (typed !== null && again.type === "search") again.value = typed;
        again.focus();
        if (at !== null && again.setSelectionRange && again.type !== "checkbox") again.setSelectionRange(at, at);
      }
      times(part);
    }
    const said = page.getElementById("status");
    if (said) say(said.textContent);
  };

  let latest = 0;
  const send = async (form, button) => {
    const turn = ++latest;
    const body = new URLSearchParams();
    for (const [key, value] of new FormData(form)) if (typeof value === "string") body.append(key, value);
    body.append(button.name, button.value);
    form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(form.getAttribute("action") || location.href, { // form.action is the button of that name
        method: "POST", body, credentials: "same-origin", redirect: "error", headers: { Accept: "text/html" },
      });
      const html = await answer.text();
      if (turn === latest) replace(html, button);
    } catch {
      if (turn === latest) say("That could not be sent. Check your connection and try again.");
    } finally {
      if (turn === latest) form.removeAttribute("aria-busy");
    }
  };

  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button || !button.hasAttribute("data-live")) return;
    event.preventDefault();
    send(event.target, button);
  });

  // Searching: after a pause in typing, and with Enter.
  let pause = 0;
  const search = (input) => {
    const button = input.form && input.form.querySelector(`button[data-search="${CSS.escape(input.name)}"]`);
    if (button) send(input.form, button);
  };
  document.addEventListener("input", (event) => {
    const input = event.target;
    if (input.getAttribute("aria-invalid") === "true") { // it is being put right
      input.removeAttribute("aria-invalid");
      document.getElementById(`${input.id}-error`)?.remove();
    }
    if (input.matches("input[type=search][data-live-search]")) {
      clearTimeout(pause);
      const id = input.id; // the field itself may be replaced meanwhile, by an answer that was under way
      pause = setTimeout(() => {
        const now = document.getElementById(id);
        if (now) search(now);
      }, 300);
    }
    if (input.matches("[data-filter]")) filter(input);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("input[type=search][data-live-search]")) {
      event.preventDefault();
      clearTimeout(pause);
      search(event.target);
    }
  });

  // The preview follows what is chosen.
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    const button = form && form.querySelector("button[data-follow]");
    if (button && event.target.matches("[data-follows]")) send(form, button);
  });

  // A list narrows down while one types.
  const filter = (input) => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const item of document.querySelectorAll("[data-words]")) {
      item.hidden = !words.every((word) => item.dataset.words.includes(word));
      if (!item.hidden) left++;
    }
    for (const group of document.querySelectorAll("[data-words-of]")) group.hidden = !group.querySelector("[data-words]:not([hidden])");
    const { one = "integration", many = "integrations" } = input.dataset;
    say(`${left} ${left === 1 ? one : many}`);
  };

  // What is copied: all of it, where the page has only the beginning, and nothing that is only said about it.
  const textOf = async (from, whole) => {
    if (whole) {
      const answer = await fetch(whole, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(answer.statusText);
      return answer.text();
    }
    if (from.value !== undefined) return from.value;
    const bare = from.cloneNode(true);
    for (const aside of bare.querySelectorAll("[data-aside]")) aside.remove();
    return bare.textContent;
  };

  document.addEventListener("click", async (event) => {
    const unfold = event.target.closest("[data-unfold]");
    if (unfold) {
      const all = [...document.getElementById(unfold.dataset.unfold).querySelectorAll("details")].slice(1);
      const open = !all.every((one) => one.open);
      for (const one of all) one.open = open;
      unfold.textContent = open ? "Fold all" : "Expand all";
    }
    const copy = event.target.closest("[data-copy]");
    if (copy) {
      const from = document.getElementById(copy.dataset.copy);
      try {
        await navigator.clipboard.writeText(await textOf(from, copy.dataset.copyFrom));
        say("Copied.");
        copy.textContent = "Copied";
      } catch {
        from.focus();
        if (from.select) from.select();
        say("Press Ctrl+C to copy.");
      }
    }
    const add = event.target.closest("[data-add-pair]");
    if (add) {
      const pairs = add.closest(".field").querySelector(".pairs");
      const last = pairs.lastElementChild;
      const next = last.cloneNode(true);
      const n = pairs.children.length;
      for (const input of next.querySelectorAll("input")) {
        input.name = input.name.replace(/\d+$/, n);
        input.id = input.id.replace(/\d+$/, n);
        input.value = "";
        input.placeholder = "";
        input.setAttribute("aria-label", input.getAttribute("aria-label").replace(/\d+$/, n + 1));
      }
      pairs.append(next);
      next.querySelector("input").focus();
    }
  });

  // Other scripts have got a page anew, of which parts take the place of those here.
  document.addEventListener("patchbay:page", (event) => replace(event.detail));

  times(document);
  const summary = document.getElementById("problems");
  if (summary) summary.focus();
})();
