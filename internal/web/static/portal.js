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
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = token;
  form.submit();
})();
