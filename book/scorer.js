// Sphinx's own weights of what a search finds, and our order: the lessons, then the other pages, then the functions.
var Scorer = {
  score: ([page, , , , score]) => score + (/^notebooks\/\d/.test(page) ? 100 : page.startsWith("api/") ? -100 : 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
