// Players follow the page's theme; what is wider than a phone gets smaller or stacked; what still scrolls has a tab stop.
(() => {
  const body = document.body;
  const themed = () => { body.dataset.jpThemeName = body.dataset.theme; };
  new MutationObserver(themed).observe(body, { attributes: true, attributeFilter: ["data-theme"] });

  const wide = (node) => node.scrollWidth > node.clientWidth + 1;
  const each = (selector, act) => document.querySelectorAll(selector).forEach(act);
  each(".sidebar-drawer", (node) => { node.ariaLabel = "All pages"; });  // a page has two asides
  each(".toc-drawer", (node) => { node.ariaLabel = "On this page"; });

  const label = (table) => {
    const heads = [...table.querySelectorAll("thead th")].map((head) => head.innerText);
    table.querySelectorAll("tbody tr").forEach((row) => [...row.children].forEach((cell, k) => {
      if (cell.innerText.trim()) cell.dataset.label = heads[k]; else cell.replaceChildren();
    }));
  };
  const fit = () => {
    each("div.math", (node) => {
      node.style.fontSize = "";
      if (wide(node)) node.style.fontSize = `${Math.max(0.7, 0.99 * node.clientWidth / node.scrollWidth)}em`;
    });
    each("article .table-wrapper", (wrapper) => {
      wrapper.classList.remove("stacked");
      const cramped = [...wrapper.querySelectorAll("tbody tr")].some((row) => row.offsetHeight > 150);
      if (innerWidth < 736 && (wide(wrapper) || cramped) && wrapper.querySelector("thead")) {
        label(wrapper);
        wrapper.classList.add("stacked");
      }
    });
    each("div.math, pre, .table-wrapper, div.cell_output", (node) => {
      if (wide(node)) node.tabIndex = 0; else node.removeAttribute("tabindex");
    });
  };
  addEventListener("load", () => document.fonts.ready.then(fit));
  addEventListener("resize", fit);
})();
