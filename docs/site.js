// The theme's search is a dialog without a name, which screen readers need. Tables and code that scroll get the keyboard's focus.
document.querySelector(".md-search").setAttribute("aria-label", "Search");
for (const part of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) part.tabIndex = 0;
