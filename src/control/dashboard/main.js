// The frame of the dashboard: which page the address names, and polling for it.
//
// A page is a module with `every` (ms between two polls), `ask(place)` (the URLs that it needs) and
// `draw(data, place, again)` → `{title, nodes}`, a function of what came and nothing else.

import { h, show } from "./dom.js";
import { empty, mark } from "./parts.js";
import { again, ask, poll } from "./poll.js";
import { listenForSearch } from "./search.js";
import * as certificates from "./certificates.js";
import * as health from "./health.js";
import * as map from "./map.js";
import * as service from "./service.js";
import * as services from "./services.js";
import * as trace from "./trace.js";
import * as traces from "./traces.js";

const PAGES = { map, services, service, traces, trace, certificates, health };
const LINKS = { map: "Map", services: "Services", traces: "Traces", certificates: "Certificates", health: "Health" };
// Below which entry of the header a page stands that has none of its own.
const UNDER = { service: "services", trace: "traces" };

const content = document.getElementById("content");

/** `#/service/api.default?minutes=5` → `{page, name, query}`. */
function placeOf(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  let name = rest.join("/");
  try {
    name = decodeURIComponent(name);
  } catch {}
  return { page: page in PAGES ? page : "map", name, query: new URLSearchParams(query ?? "") };
}

/** Replicas of the control plane whose part is missing from what is shown. */
function unheard(data) {
  const all = data.flatMap((told) => told?.replicas ?? []).filter(({ silence }) => silence);
  const each = [...new Map(all.map((of) => [of.replica, of])).values()];
  return each.length > 0 && h("ul", { class: "problems", "data-key": "unheard", role: "status" },
    each.map(({ replica, silence }) => h("li", null, mark("warn", ""), h("span", null,
      `Without what sidecars tell replica ${replica} of the control plane: ${silence}.`))));
}

function open() {
  if (location.hash === "#content") return content.focus();
  const place = placeOf(location.hash);
  const page = PAGES[place.page];
  const current = UNDER[place.page] ?? place.page;
  show(document.getElementById("pages"), Object.entries(LINKS).map(([name, title]) =>
    h("a", { href: `#/${name}`, "aria-current": current === name && "page", "data-key": name }, title)));
  const next = `${place.page}/${place.name}`;
  if (content.dataset.place !== next) {
    content.dataset.place = next;
    content.className = `page-${place.page}`;
    show(content, h("p", { class: "quiet", "data-key": "asking" }, "Asking the control plane …"));
    scrollTo(0, 0);
  }
  let newest = null;
  const put = (title, ...nodes) => {
    document.title = `${title} · Outrigger`;
    show(content, nodes);
  };
  const draw = (data) => {
    newest = data;
    const { title, nodes } = page.draw(data, place, () => newest && draw(newest));
    put(title, unheard(data), nodes);
  };
  const refuse = (error) => put("Nothing here", h("h1", null, "Nothing here"), empty(error.message,
    h("p", null, h("a", { href: "#/map" }, "Back to the map"))));
  poll(page.every, () => Promise.all(page.ask(place).map((url) => ask(url))), draw, refuse);
  redraw = () => newest && draw(newest);
}

let redraw = () => {};
let resized = null;
addEventListener("resize", () => {
  cancelAnimationFrame(resized);
  resized = requestAnimationFrame(() => redraw());
});
addEventListener("hashchange", open);
document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.nodeName);
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "r") again();
});
listenForSearch();
open();
