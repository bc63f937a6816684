// All services in one table, the worst first, or as its headings are asked to sort it.

import { h } from "./dom.js";
import { command, empty, table } from "./parts.js";
import { named } from "./map.js";
import { RANK, count, failures, level, ms, rate } from "./words.js";

export const every = 3000;

export const ask = () => ["/api/services?window=30"];

export function draw([{ services }], _place, again) {
  const failing = services.filter((service) => level(service) === "bad").length;
  const title = failing ? `${failing} failing · Services` : "Services";
  if (!services.length) {
    return { title, nodes: [h("h1", null, "Services"), empty("The mesh has no services yet.",
      h("p", null, "Apply one, and it is here:"), command("outrigger apply service.yaml"))] };
  }
  const rows = [...services].sort((a, b) =>
    RANK[level(a)] - RANK[level(b)] || a.name.localeCompare(b.name));
  const number = (name, of, text, minor) => ({ name, number: true, by: of, of: (row) => text(of(row)), minor });
  const columns = [
    { name: "Service", by: ({ name }) => name, wide: true, of: named },
    number("Rate", ({ rate: now }) => now, rate),
    { name: "Failures", number: true, by: ({ failureRate }) => failureRate, of: failures },
    number("p50", ({ p50Ms }) => p50Ms, ms, true),
    number("p95", ({ p95Ms }) => p95Ms, ms, true),
    number("p99", ({ p99Ms }) => p99Ms, ms),
    number("Open", ({ open }) => open, count, true),
    { name: "Endpoints", number: true, minor: true, by: ({ endpoints }) => endpoints?.ready, of: ({ endpoints }) => readiness(endpoints) },
    number("Sidecars", ({ sidecars }) => sidecars, count, true),
    number("Routes", ({ routes }) => routes, count, true),
  ];
  return {
    title,
    nodes: [h("h1", null, "Services"), h("p", { class: "quiet" }, "Rates, failures and latencies of the last 30 s."),
      table({ name: "services", columns, rows, keyOf: ({ name }) => name, levelOf: level, again })],
  };
}

/** `2 of 3 ready` */
export function readiness(endpoints) {
  if (!endpoints) return "–";
  const { ready = 0, ejected = 0, halfOpen = 0 } = endpoints;
  return ejected + halfOpen ? `${ready} of ${ready + ejected + halfOpen} ready` : `${ready} ready`;
}
