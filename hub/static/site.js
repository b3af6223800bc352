// Copy buttons. Everything on the site works without this file; htmx, where a page loads it, only keeps progress live.
(() => {
  "use strict";

  const addButtons = (root) => {
    for (const source of root.querySelectorAll("[data-copy]:not([data-copy-ready])")) {
      source.dataset.copyReady = "";
      const button = document.createElement("button");
      button.type = "button";
      button.className = "copy";
      button.textContent = "Copy";
      button.setAttribute("aria-label", source.dataset.copyLabel || "Copy this");
      button.addEventListener("click", async () => {
        const text = source.dataset.copy || source.querySelector("code").textContent;
        try {
          await navigator.clipboard.writeText(text);
          button.textContent = "Copied";
        } catch {
          button.textContent = "Press Ctrl-C";
          const range = document.createRange();
          range.selectNodeContents(source.querySelector("code") || source);
          getSelection().removeAllRanges();
          getSelection().addRange(range);
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      source.append(button);
    }
  };

  addButtons(document);
  document.addEventListener("htmx:load", (event) => addButtons(event.detail.elt.parentNode || document));
  // A menu closes when something else is clicked, or by Escape.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
    }
  });
})();
