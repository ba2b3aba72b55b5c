// A portal's address carries its one-time token behind the #, which no server log and no Referer ever sees. This sends it
// where it is exchanged for a session, and forgets it.
(() => {
  "use strict";
  const form = document.getElementById("exchange");
  const token = location.hash.slice(1);
  if (!form) return;
  if (!token) {
    document.getElementById("waiting").hidden = true;
    document.getElementById("missing").hidden = false;
    return;
  }
  const next = new URL(new URLSearchParams(location.search).get("next") ?? "/", location.href);
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = token;
  // A form may not lead to a partner, not even by way of a redirect (form-action): where that is where one goes next, the
  // session is begun in the background. Whoever sent this address may not be who opens it, so they are asked.
  if (next.origin !== location.origin || !next.pathname.startsWith("/auth/")) {
    form.submit();
    return;
  }
  next.searchParams.set("ask", "1");
  fetch("/portal/exchange", { method: "POST", body: new URLSearchParams({ token }), credentials: "same-origin", redirect: "manual" })
    .then((answer) => (answer.type === "opaqueredirect" ? location.replace(next.href) : form.submit()))
    .catch(() => form.submit());
})();
