// The theme's search is a dialog without a name, which screen readers need.
document.querySelector(".md-search").setAttribute("aria-label", "Search");

// Tables and code that scroll get the keyboard's focus; the theme puts tables into what scrolls when the page is there.
function focusable() {
  for (const part of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) part.tabIndex = 0;
}
focusable();
new MutationObserver(focusable).observe(document.querySelector(".md-content"), { childList: true, subtree: true });
