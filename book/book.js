// On paper every answer is open; custom.css does it for the browsers that can do it without a script.
addEventListener("beforeprint", () => document.querySelectorAll("details.guess").forEach((each) => (each.open = true)));

// A figure that is wider than a phone is moved sideways: with the keyboard, too.
addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll(".cell_output:has(.wide-figure)").forEach((each) => (each.tabIndex = 0)),
);
