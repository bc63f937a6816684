// The traces that the mesh kept: all that failed or were slow, and a sample of the others.
//
// The address holds what is asked for, so that it can be linked:
// `#/traces?service=api.shop&failed=true&slowerThanMs=100`.

import { h, s } from "./dom.js";
import { because, command, empty, mark, table } from "./parts.js";
import { clock, count, ms, plural, span } from "./words.js";

export const every = 5000;

const FIELDS = ["service", "failed", "slowerThanMs"];

export function ask({ query }) {
  const asked = new URLSearchParams({ limit: "50" });
  for (const name of FIELDS) if (query.get(name)) asked.set(name, query.get(name));
  return [`/api/traces?${asked}`];
}

export function draw([{ traces }], { query }) {
  return {
    title: "Traces",
    nodes: [h("h1", null, "Traces"), filters(query),
      traces.length ? list(traces) : none(query)],
  };
}

function filters(query) {
  const change = (name) => (event) => {
    const asked = new URLSearchParams(query);
    const { type, checked, value } = event.target;
    const wanted = type === "checkbox" ? checked && "true" : value.trim();
    if (wanted) asked.set(name, wanted);
    else asked.delete(name);
    location.hash = asked.size ? `#/traces?${asked}` : "#/traces";
  };
  return h("form", { class: "filters", "data-key": "filters", submit: (event) => event.preventDefault() },
    h("label", { class: "field" }, "Service ", h("input", {
      type: "text", value: query.get("service") ?? "", placeholder: "all", change: change("service"), spellcheck: "false",
    })),
    h("label", { class: "field" }, "Slower than ", h("input", {
      type: "number", min: "0", step: "any", value: query.get("slowerThanMs") ?? "", placeholder: "0", change: change("slowerThanMs"),
    }), " ms"),
    h("label", { class: "field" }, h("input", {
      type: "checkbox", checked: query.get("failed") === "true", change: change("failed"),
    }), " Failed only"));
}

function list(traces) {
  const longest = Math.max(...traces.map(({ durationMs }) => durationMs), 0.001);
  const columns = [
    { name: "Request", wide: true, of: (trace) => h("span", { class: "named" },
      mark(trace.failed ? "bad" : "ok", trace.failed ? "failed" : "well"),
      h("a", { href: `#/trace/${trace.traceId}` }, `${trace.method ?? ""} ${trace.path ?? trace.traceId.slice(0, 8)}`)) },
    { name: "Service", minor: true, of: ({ service }) => service ?? "–" },
    { name: "Took", number: true, of: ({ durationMs }) => ms(durationMs) },
    { name: "", minor: true, of: ({ durationMs, failed }) => s("svg", { class: "length", width: 120, height: 8, "aria-hidden": "true" },
      s("rect", { class: failed ? "bad" : "", width: Math.max(2, (120 * durationMs) / longest), height: 8, rx: 2 })) },
    { name: "Spans", number: true, minor: true, of: ({ spans }) => count(spans) },
    { name: "Kept because", minor: true, of: ({ kept, reason }) => (reason ? [`${kept}: `, because(reason)] : kept) },
    { name: "When", of: ({ startedMs }) => h("time", { title: `${span(Date.now() - startedMs)} ago` }, clock(startedMs)) },
  ];
  return h("div", { "data-key": "traces" },
    h("p", { class: "quiet" }, `${plural(traces.length, "trace")}, the newest first.`),
    table({ name: "traces", columns, rows: traces, keyOf: ({ traceId }) => traceId, levelOf: ({ failed }) => failed && "bad" }));
}

function none(query) {
  if (FIELDS.some((name) => query.get(name))) {
    return empty("No kept trace is like this.", h("p", null, h("a", { href: "#/traces" }, "Show all")));
  }
  return empty("No trace has been kept yet.",
    h("p", null, "Kept are requests that failed or took longer than ", h("code", null, "telemetry.traces.slowerThan"),
      ", and of the others the share ", h("code", null, "sampleRatio"), ". To keep one for certain, send it as sampled:"),
    command("curl -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' \\\n     -H 'Host: web' http://127.0.0.1:15001/"));
}
