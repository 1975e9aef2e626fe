// The chosen theme, before anything is drawn: so this one is no module. Without a choice the system's own counts.
"use strict";
(() => {
  const chosen = localStorage.getItem("zjp.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
