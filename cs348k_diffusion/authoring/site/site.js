// Players follow the page's theme; what scrolls within the page can be reached by the keyboard.
(() => {
  const body = document.body;
  const themed = () => { body.dataset.jpThemeName = body.dataset.theme; };
  new MutationObserver(themed).observe(body, { attributes: true, attributeFilter: ["data-theme"] });
  const scrollers = "div.math, pre, .table-wrapper, div.cell_output";
  const reach = () => document.querySelectorAll(scrollers).forEach((node) => {
    if (node.scrollWidth > node.clientWidth + 1) node.tabIndex = 0; else node.removeAttribute("tabindex");
  });
  addEventListener("load", reach);
  addEventListener("resize", reach);
})();
