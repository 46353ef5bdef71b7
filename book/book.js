// On paper every answer and import is open; custom.css does it for the browsers that can do it without a script.
addEventListener("beforeprint", () => document.querySelectorAll("details:is(.guess, .hide)").forEach((each) => (each.open = true)));

// A chart that is wider than a phone is moved sideways: with the keyboard, too.
addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll(".wide-figure").forEach((each) => (each.tabIndex = 0)),
);
