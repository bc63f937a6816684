// One service: how it is, how it was in the last half hour, who calls it, what it is made of, and
// why requests to it failed.

import { h, room } from "./dom.js";
import { badge, because, command, empty, facts, lock, panel, table } from "./parts.js";
import { chart } from "./chart.js";
import { readiness } from "./services.js";
import { LEVELS, WARN, clock, count, failures as failed, level, ms, percent, plural, rate, span } from "./words.js";

export const every = 3000;

export const ask = ({ name, query }) => {
  const minutes = Number(query.get("minutes")) || 30;
  return [`/api/service?name=${encodeURIComponent(name)}&minutes=${minutes}&window=30`];
};

export function draw([told], { name, query }, again) {
  const node = told.node ?? {};
  const state = level(node);
  const section = (title, rows, none, make) =>
    panel(title, rows?.length ? make(rows) : h("p", { class: "quiet" }, none));
  return {
    title: state === "bad" ? `${name} is failing` : name,
    nodes: [
      h("div", { class: "heading", "data-key": "heading" },
        h("h1", null, name), badge(state, LEVELS[state]),
        h("div", { class: "filters" },
          h("a", { class: "button", href: `#/map?focus=${encodeURIComponent(name)}` }, "On the map"),
          h("a", { class: "button", href: `#/traces?service=${encodeURIComponent(name)}` }, "Traces"))),
      facts([
        ["Rate", rate(node.rate)],
        ["Failures", failed(node), node.failureRate >= WARN ? state : null],
        ["Open", count(node.open)],
        ["p50", ms(node.p50Ms)], ["p95", ms(node.p95Ms)], ["p99", ms(node.p99Ms)],
        ["Endpoints", readiness(node.endpoints), node.endpoints?.ejected ? "warn" : null],
        ["Sidecars", count(node.sidecars)],
      ]),
      charts(told.series ?? [], query, name, again),
      section("Recent failures", told.failures, node.failureRate > 0
        ? "Sidecars have not told of them one by one yet; they do so every few seconds."
        : "None in the last half hour.", failures),
      h("div", { class: "columns", "data-key": "columns" },
        section("Callers", told.callers, "Nobody has called it in the last 30 s.", (rows) => peers("callers", "from", rows, again)),
        section("Callees", told.callees, "It has called nobody in the last 30 s.", (rows) => peers("callees", "to", rows, again)),
        section("Routes", told.routes, "No request has taken a route in the last 30 s.", (rows) => routes(rows, again)),
        section("Policies", told.policies, "Nothing but the defaults holds for it.", policies)),
      section("Endpoints", told.endpoints, "It has no endpoints: no workload's labels match its selector, or none has joined.", endpoints),
      told.leftOut > 0 && h("p", { class: "quiet", "data-key": "left-out" },
        `${plural(told.leftOut, "row", "rows")} of these lists had to be left out.`),
      !(node.rate > 0) && !told.callers?.length && empty("It has no traffic now. To send some through a sidecar:",
        command(`curl -H 'Host: ${name.split(":")[0]}' http://127.0.0.1:15001/`)),
    ],
  };
}

function charts(series, query, name, again) {
  const side = innerWidth > 1080 ? 3 : innerWidth > 720 ? 2 : 1;
  const width = Math.max(200, Math.floor((room() - (side - 1) * 16) / side) - 26);
  const of = (name) => (moment) => moment[name];
  const minutes = Number(query.get("minutes")) || 30;
  const choice = (value) => h("a", {
    href: `#/service/${encodeURIComponent(name)}?minutes=${value}`,
    "aria-current": value === minutes && "true",
    "data-key": String(value),
  }, `${value} min`);
  return h("div", { "data-key": "charts" },
    h("p", { class: "choice", role: "group", "aria-label": "How far back" }, [5, 15, 30].map(choice)),
    h("div", { class: "charts" },
      chart({ title: "Requests", series, unit: rate, width, least: 1, again,
        lines: [{ of: of("rate"), class: "first" }] }),
      chart({ title: "Failures", series, unit: percent, width, least: 0.05, again,
        lines: [{ of: of("failureRate"), class: "failing" }] }),
      chart({ title: "Latency", series, unit: ms, width, least: 1, again,
        lines: [
          { name: "p50", of: of("p50Ms"), class: "first" },
          { name: "p95", of: of("p95Ms"), class: "second" },
          { name: "p99", of: of("p99Ms"), class: "third" },
        ] })));
}

/** The newest of each kind, with how many there are. */
function failures(all) {
  const kind = ({ reason, status, sentence, method, path, from }) =>
    JSON.stringify([reason, status, sentence, method, path, from]);
  const rows = [...Map.groupBy(all, kind).values()].map((those) => ({ ...those[0], times: those.length }));
  const columns = [
    { name: "Last", of: ({ atMs }) => h("time", { title: `${span(Date.now() - atMs)} ago` }, clock(atMs)) },
    { name: "Times", number: true, of: ({ times }) => count(times) },
    { name: "Reason", of: ({ reason, status }) => h("span", null,
      reason ? because(reason) : h("strong", { class: "bad" }, "from the app"), status ? ` ${status}` : "") },
    { name: "What happened", wide: true, of: ({ sentence }) => sentence ?? "The app answered so." },
    { name: "Request", wide: true, of: ({ method, path, route }) => h("code", { title: route && `route ${route}` }, `${method ?? ""} ${path ?? ""}`) },
    { name: "From", of: ({ from }) => from ?? "–" },
    { name: "Trace", of: ({ traceId }) => traceId ? h("a", { href: `#/trace/${traceId}` }, traceId.slice(0, 8)) : "–" },
  ];
  return table({ name: "failures", columns, rows, stack: true });
}

function peers(name, side, rows, again) {
  const columns = [
    { name: side === "from" ? "From" : "To", wide: true, by: (row) => row[side], of: (row) => h("span", { title: row.identity },
      h("a", { href: `#/service/${encodeURIComponent(row[side])}` }, row[side])) },
    { name: "Secured", of: ({ tls }) => lock(tls) },
    { name: "Rate", number: true, by: (row) => row.rate, of: (row) => rate(row.rate) },
    { name: "Failures", number: true, by: (row) => row.failureRate, of: failed },
    { name: "p99", number: true, minor: true, by: (row) => row.p99Ms, of: (row) => ms(row.p99Ms) },
    { name: "Open", number: true, by: (row) => row.open, of: (row) => count(row.open) },
  ];
  return table({ name, columns, rows, keyOf: (row) => row[side], levelOf: level, again });
}

function routes(rows, again) {
  const columns = [
    { name: "Route", wide: true, by: ({ route }) => route, of: ({ route }) => route || "default" },
    { name: "Rate", number: true, by: (row) => row.rate, of: (row) => rate(row.rate) },
    { name: "Failures", number: true, by: (row) => row.failureRate, of: failed },
    { name: "p99", number: true, by: (row) => row.p99Ms, of: (row) => ms(row.p99Ms) },
    { name: "Open", number: true, by: (row) => row.open, of: (row) => count(row.open) },
  ];
  return table({ name: "routes", columns, rows, keyOf: ({ route }) => route, levelOf: level, again });
}

const STATES = { ready: "ok", ejected: "bad", "half-open": "warn", connecting: "idle" };

function endpoints(rows) {
  const state = ({ states }) => {
    if (!states?.length) return h("span", { class: "quiet" }, "nobody has asked for it");
    const by = Map.groupBy(states, (each) => each.state);
    return [...by].map(([name, those]) => h("span", {
      class: "state",
      title: those.map(({ reportedBy }) => reportedBy).join(", "),
    }, badge(STATES[name] ?? "idle", name), h("span", { class: "quiet" }, ` to ${plural(those.length, "caller")}`)));
  };
  const columns = [
    { name: "Address", of: ({ address }) => h("code", null, address) },
    { name: "Workload", of: ({ workload }) => workload || "–" },
    { name: "Circuit", of: state },
    { name: "Zone", of: ({ zone }) => zone || "–" },
    { name: "Identity", wide: true, of: ({ identity }) => h("code", null, identity ?? "not meshed") },
  ];
  return table({ name: "endpoints", columns, rows, keyOf: ({ address }) => address, stack: true });
}

function policies(rows) {
  const columns = [
    { name: "Policy", wide: true, of: ({ kind, name, namespace }) => `${kind} ${name}.${namespace}` },
    { name: "State", wide: true, of: ({ problem }) => problem ? h("span", null, badge("bad", "not in effect"), ` ${problem}`) : "in effect" },
  ];
  return table({ name: "policies", columns, rows, keyOf: ({ kind, name, namespace }) => `${kind}/${namespace}/${name}` });
}
