// The search in the header: services by a part of their name, a trace by its id. `/` goes there,
// arrows choose, Enter goes, Esc leaves.

import { h, show } from "./dom.js";
import { mark } from "./parts.js";
import { ask } from "./poll.js";
import { RANK, level } from "./words.js";

const SHOWN = 8;
const TRACE = /^[0-9a-f]{32}$/;

let services = [];
let found = [];
let chosen = 0;

const box = () => document.getElementById("search");
const list = () => document.getElementById("found");

export function listenForSearch() {
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.nodeName);
    if (event.key === "/" && !typing) {
      event.preventDefault();
      box().focus();
      box().select();
    }
  });
  box().addEventListener("focus", async () => {
    try {
      services = (await ask("/api/services?window=30")).services;
    } catch {
      // The header says already that nobody answers.
    }
    find();
  });
  box().addEventListener("input", () => {
    chosen = 0;
    find();
  });
  box().addEventListener("blur", close);
  box().addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      box().value = "";
      box().blur();
    } else if (event.key === "Enter" && found[chosen]) {
      go(found[chosen].href);
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : found.length - 1;
      chosen = found.length ? (chosen + step) % found.length : 0;
      draw();
    }
  });
}

function go(href) {
  box().value = "";
  box().blur();
  location.hash = href;
  document.getElementById("content").focus();
}

function find() {
  const text = box().value.trim().toLowerCase();
  if (TRACE.test(text)) {
    found = [{ title: `Trace ${text}`, href: `#/trace/${text}` }];
  } else {
    const matching = services.filter(({ name }) => name.toLowerCase().includes(text));
    const order = (a, b) =>
      a.name.toLowerCase().indexOf(text) - b.name.toLowerCase().indexOf(text)
      || RANK[level(a)] - RANK[level(b)] || a.name.localeCompare(b.name);
    found = matching.sort(order).slice(0, SHOWN).map((service) => ({
      title: service.name,
      level: level(service),
      href: `#/service/${encodeURIComponent(service.name)}`,
    }));
  }
  if (document.activeElement === box()) draw();
}

function draw() {
  const items = found.map(({ title, level, href }, index) =>
    h("li", {
      id: `found-${index}`,
      role: "option",
      "aria-selected": String(index === chosen),
      // Before the box loses the focus and the list is gone.
      pointerdown: (event) => {
        event.preventDefault();
        go(href);
      },
    }, level && mark(level), h("span", null, title)));
  const none = h("li", { class: "quiet", role: "option" }, "No service of that name has been seen");
  show(list(), items.length ? items : none);
  list().hidden = false;
  box().setAttribute("aria-expanded", "true");
  if (found.length) box().setAttribute("aria-activedescendant", `found-${chosen}`);
  else box().removeAttribute("aria-activedescendant");
}

function close() {
  list().hidden = true;
  box().setAttribute("aria-expanded", "false");
}
