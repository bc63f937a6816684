// One trace as a waterfall: each span where it began and for as long as it took, below the one that
// caused it; opened, it says what it knows, attempt by attempt.

import { h, s } from "./dom.js";
import { badge, because, facts, lock, mark } from "./parts.js";
import { clock, ms, plural } from "./words.js";

export const every = 5000;

export const ask = ({ name }) => [`/api/trace?id=${encodeURIComponent(name)}`];

export function draw([trace]) {
  const { spans, traceId, startedMs, durationMs } = trace;
  const failed = spans.filter((span) => span.failed);
  const root = spans[0];
  const total = Math.max(1, ...spans.map(({ offsetUs, durationUs }) => offsetUs + durationUs));
  const depth = depths(spans);
  return {
    title: root ? `${root.name} · Trace` : "Trace",
    nodes: [
      h("div", { class: "heading" }, h("h1", null, root?.name ?? "Trace"),
        failed.length ? badge("bad", `${failed.length} of ${plural(spans.length, "span")} failed`) : badge("ok", "well")),
      facts([["Took", ms(durationMs)], ["Began", clock(startedMs)], ["Spans", String(spans.length)], ["Id", h("code", null, traceId)]]),
      h("p", { class: "quiet" }, "As far as the sidecars on its way kept it. Open a span to see what it knows."),
      h("div", { class: "waterfall", "data-key": "waterfall" },
        h("div", { class: "scale", "aria-hidden": "true" }, h("div", null, [0, 0.25, 0.5, 0.75, 1].map((part) =>
          h("span", null, ms((part * total) / 1000))))),
        spans.map((span) => row(span, depth.get(span.spanId), total))),
    ],
  };
}

function depths(spans) {
  const depth = new Map();
  for (const { spanId, parentId } of spans) depth.set(spanId, (depth.get(parentId) ?? -1) + 1);
  return depth;
}

const SIDES = { inbound: "takes", outbound: "calls" };

function row(span, depth, total) {
  const part = (us) => `${((100 * us) / total).toFixed(3)}%`;
  const place = span.direction === "outbound" ? span.service ?? span.name : span.name;
  return h("details", { class: `span ${span.failed ? "bad" : ""} ${span.direction}`, "data-key": span.spanId },
    h("summary", null,
      h("span", { class: `label depth-${Math.min(depth, 12)}` },
        mark(span.failed ? "bad" : "ok", span.failed ? "failed" : "well"),
        h("span", null, h("b", null, span.workload), ` ${SIDES[span.direction] ?? ""} ${place}`)),
      s("svg", { class: "track", height: 18, "aria-hidden": "true" },
        s("rect", { class: "bar", x: part(span.offsetUs), y: 4, width: part(span.durationUs), height: 10, rx: 2 }),
        (span.attempts ?? []).length > 1 && span.attempts.map((attempt) => s("rect", {
          class: `attempt ${attempt.reason || attempt.status >= 500 ? "bad" : ""}`,
          x: part(attempt.offsetUs), y: 2, width: part(attempt.durationUs), height: 14,
        }))),
      h("span", { class: "took" }, ms(span.durationUs / 1000))),
    h("div", { class: "known" },
      (span.reason || span.sentence) && h("p", { class: "sentence" },
        span.reason && because(span.reason), span.reason && span.sentence && ": ", span.sentence),
      facts([
        ["Request", h("code", null, span.name)],
        ["Status", [span.status, span.grpcStatus != null && `gRPC ${span.grpcStatus}`].filter(Boolean).join(", ") || "–"],
        span.route && ["Route", span.route],
        span.service && ["Service", span.service],
        span.endpoint && ["Endpoint", h("code", null, span.endpoint)],
        span.peer && ["Peer", h("code", null, span.peer)],
        // Of a call, `tls` is about the app's own connection; who proved to be somebody did so by mTLS.
        (span.peer || span.tls) && ["Secured", lock(span.peer ? "mtls" : span.tls)],
        ["Began after", ms(span.offsetUs / 1000)],
        ["Took", ms(span.durationUs / 1000)],
      ]),
      attempts(span)));
}

function attempts({ attempts }) {
  if (!attempts?.length) return null;
  return h("ol", { class: "attempts" }, attempts.map((attempt) =>
    h("li", null, h("code", null, attempt.endpoint), ` ${attempt.status ?? ""} after ${ms(attempt.durationUs / 1000)}`,
      attempt.reason && [" ", because(attempt.reason)])));
}
