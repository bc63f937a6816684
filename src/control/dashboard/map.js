// The map: who calls whom, how much, how well; and the same as a list, the worst first.
//
// `#/map?namespace=shop` shows one namespace and whom it deals with, `#/map?focus=api.shop` one
// service and its neighbours.

import { h } from "./dom.js";
import { command, empty, mark, panel, table } from "./parts.js";
import { graph } from "./graph.js";
import { LEVELS, RANK, count, failures, level, ms, plural, rate } from "./words.js";

export const every = 2000;

export const ask = () => ["/api/graph?window=30"];

const href = (parameters) => {
  const query = new URLSearchParams(parameters).toString();
  return query ? `#/map?${query}` : "#/map";
};

export function draw([told], { query }, again) {
  const { edges } = told;
  const calls = new Map();
  const holds = new Map();
  for (const { from, rate: each, open } of edges) {
    calls.set(from, (calls.get(from) ?? 0) + each);
    holds.set(from, (holds.get(from) ?? 0) + open);
  }
  const nodes = told.nodes.map((node) => ({ ...node, calls: calls.get(node.name) ?? 0, holds: holds.get(node.name) ?? 0 }));
  const failing = nodes.filter((node) => level(node) === "bad").length;
  const title = failing ? `${failing} failing` : "Map";
  if (!nodes.length) return { title, nodes: [h("h1", null, "Map"), nothing()] };
  const part = choose(nodes, edges, query);
  const heading = h("div", { class: "heading" },
    h("h1", null, "Map"), h("p", { class: "sum" }, summary(nodes)), filters(nodes, query));
  const note = told.leftOut > 0 && h("p", { class: "quiet" },
    `${plural(told.leftOut, "service or call", "services and calls")} with the least traffic had to be left out.`);
  return {
    title,
    nodes: [
      heading,
      h("div", { class: "beside", "data-key": "map" },
        h("div", { class: "stage" },
          part.nodes.length
            ? graph(part, query.get("focus"), again)
            : empty(`Nothing of the mesh is in ${query.get("namespace") ?? query.get("focus")} now.`),
          legend(), note),
        list(part.nodes, query, again)),
    ],
  };
}

/** What the address asks for. */
function choose(nodes, edges, query) {
  const focus = query.get("focus");
  const namespace = query.get("namespace");
  if (!focus && !namespace) return { nodes, edges };
  const meant = (name) =>
    focus ? name === focus : nodes.some((node) => node.name === name && node.namespace === namespace);
  const near = edges.filter(({ from, to }) => meant(from) || meant(to));
  const names = new Set(near.flatMap(({ from, to }) => [from, to]));
  const kept = nodes.filter(({ name }) => names.has(name) || meant(name));
  return { nodes: kept, edges: edges.filter(({ from, to }) => names.has(from) && names.has(to)) };
}

function summary(nodes) {
  const counts = { bad: 0, warn: 0, ok: 0, idle: 0 };
  for (const node of nodes) counts[level(node)]++;
  const part = (name) => counts[name] > 0 &&
    h("span", { class: `count ${name}`, "data-key": name }, mark(name, ""), ` ${count(counts[name])} ${LEVELS[name]}`);
  return Object.keys(counts).map(part);
}

function filters(nodes, query) {
  const namespaces = [...new Set(nodes.map(({ namespace }) => namespace).filter(Boolean))].sort();
  const chosen = query.get("namespace") ?? "";
  const focus = query.get("focus");
  const change = (event) =>
    (location.hash = href(event.target.value ? { namespace: event.target.value } : {}));
  const select = h("label", { class: "field", "data-key": "namespace" }, "Namespace ",
    h("select", { change },
      h("option", { value: "", selected: !chosen }, "all"),
      namespaces.map((name) => h("option", { value: name, selected: name === chosen }, name))));
  const clear = focus && h("a", { class: "button", href: href({}), "data-key": "clear" },
    `Around ${focus}`, h("span", { "aria-label": "show all" }, " ✕"));
  return h("div", { class: "filters" }, clear, namespaces.length > 1 && select);
}

const legend = () => h("p", { class: "legend quiet" },
  h("span", null, mark("bad", ""), "5 % or more fail"),
  h("span", null, mark("warn", ""), "1 % or more fail, or an endpoint is out"),
  h("span", null, mark("ok", ""), "well"),
  h("span", null, mark("idle", ""), "no traffic"),
  h("span", null, "- - - plaintext"),
  h("span", null, "Rates, failures and 99th percentiles of the last 30 s"));

function list(nodes, query, again) {
  const rows = [...nodes].sort((a, b) => RANK[level(a)] - RANK[level(b)] || a.name.localeCompare(b.name));
  const columns = [
    { name: "Service", by: ({ name }) => name, wide: true, of: (node) => named(node) },
    { name: "Rate", number: true, by: (node) => node.rate, of: (node) => rate(node.rate) },
    { name: "Failures", number: true, by: (node) => node.failureRate, of: failures },
    { name: "p99", number: true, minor: true, by: (node) => node.p99Ms, of: (node) => ms(node.p99Ms) },
    { name: "Open", number: true, minor: true, by: (node) => node.open, of: (node) => count(node.open) },
    { name: "", of: ({ name }) => h("a", {
      href: href({ focus: name }),
      class: "focus",
      title: `Only ${name} and its neighbours`,
      "aria-label": `Show only ${name} and its neighbours on the map`,
      "aria-current": query.get("focus") === name && "true",
    }, "◎") },
  ];
  return panel("Services, the worst first",
    table({ name: "map", columns, rows, keyOf: ({ name }) => name, levelOf: level, again }));
}

/** A service's mark and name; the name leads to its page, if it can have one. */
export function named(node) {
  const href = `#/service/${encodeURIComponent(node.name)}`;
  return h("span", { class: "named" }, mark(level(node)), h("a", { href }, node.name));
}

function nothing() {
  return empty("Nothing has been called yet.",
    h("p", null, "A service appears here a few seconds after the first request through a sidecar. Send one to the sidecar's own port, with the service's name:"),
    command("curl -H 'Host: web' http://127.0.0.1:15001/"),
    h("p", null, "Or look at a small shop under load, with a dashboard of its own:"),
    command("outrigger demo --keep"),
    h("p", null, "Sidecars that are connected are on the page ", h("a", { href: "#/health" }, "Health"), "."));
}
