// How the control plane is: what troubles it, who is connected, what it remembers.

import { h, s } from "./dom.js";
import { badge, empty, command, facts, mark, panel } from "./parts.js";
import { bytes, count, moment, percent, plural, span } from "./words.js";

export const every = 3000;

export const ask = () => ["/api/health"];

const RAW = ["/pages", "/sessions", "/services", "/registrations", "/plaintext", "/ca", "/config", "/metrics"];

export function draw([told]) {
  const { problems = [], memory = {} } = told;
  return {
    title: problems.length ? `${plural(problems.length, "problem")} · Health` : "Health",
    nodes: [
      h("div", { class: "heading" }, h("h1", null, "Control plane"),
        problems.length ? badge("bad", plural(problems.length, "problem")) : badge("ok", "well")),
      problems.length > 0 && h("ul", { class: "problems" }, problems.map((problem) =>
        h("li", null, mark("bad", ""), h("span", null, problem)))),
      facts([
        ["Sidecars", count(told.sidecars)],
        ["Behind", count(told.behind), told.behind > 0 ? "warn" : null],
        ["Refusing an update", count(told.refusing), told.refusing > 0 ? "bad" : null],
        ["Up for", told.upSinceMs && h("time", { title: moment(told.upSinceMs) }, span(Date.now() - told.upSinceMs))],
        ["Version", told.version],
        told.replica && ["Replica", told.replicas?.length > 1 ? `${told.replica}, one of ${told.replicas.length}` : told.replica],
      ]),
      told.sidecars === 0 && empty("No sidecar is connected. One joins with a token:",
        command("outrigger token create -n default -s web --label app=web")),
      panel("Cluster", h("p", null, told.cluster ?? "None: the mesh is what people apply and sidecars register.")),
      panel(told.replicas?.length > 1 ? `What ${told.replica} remembers of the traffic` : "What it remembers of the traffic", remembered(memory)),
      panel("As JSON", h("p", { class: "links" }, RAW.map((path) => [h("a", { href: path }, path), " "]))),
    ],
  };
}

function remembered({ usedBytes = 0, budgetBytes = 0, leftOut = 0 }) {
  const share = budgetBytes ? usedBytes / budgetBytes : 0;
  return [
    h("p", null, `The last 30 minutes, in ${bytes(usedBytes)} of ${bytes(budgetBytes)} (${percent(share)}).`),
    s("svg", { class: "gauge", height: 10, role: "img", "aria-label": `${percent(share)} of the budget` },
      s("rect", { class: "room", width: "100%", height: 10, rx: 4 }),
      s("rect", { class: share > 0.9 ? "warn" : "used", width: `${(100 * Math.min(1, share)).toFixed(2)}%`, height: 10, rx: 4 })),
    leftOut > 0 && h("p", null, `${count(leftOut)} of the least active series were left out: a larger --memory-budget keeps them.`),
  ];
}
