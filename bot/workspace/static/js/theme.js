// Runs before the first paint, so that a chosen theme does not flash the other one.
"use strict";
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("theme");
  } catch {
    // Storage can be forbidden; the system's choice then stands.
  }
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
})();
