// Certificates: who has one, and when each ends. The one that ends first comes first.

import { h } from "./dom.js";
import { badge, command, empty, facts, panel, table } from "./parts.js";
import { moment, plural, span } from "./words.js";

export const every = 5000;

export const ask = () => ["/api/certificates"];

// A certificate is replaced when a third of its life is left: below these shares of it something keeps
// its sidecar from it.
const SOON = 1 / 4;
const LATE = 1 / 10;

/** How a certificate is that lives from one moment to another. */
export function state({ notBeforeMs, notAfterMs }, now) {
  const share = (notAfterMs - now) / Math.max(1, notAfterMs - notBeforeMs);
  return share < LATE ? "bad" : share < SOON ? "warn" : "ok";
}

export function draw([{ root, issuer, rotation, workloads }], _place, again) {
  const now = Date.now();
  const left = ({ notAfterMs }) => notAfterMs - now;
  const rows = [...workloads].sort((a, b) => left(a) - left(b));
  const how = (row) => state(row, now);
  const words = (row) => (left(row) <= 0 ? `ended ${span(-left(row))} ago` : `in ${span(left(row))}`);
  const columns = [
    { name: "Workload", wide: true, by: ({ workload }) => workload, of: ({ workload }) => workload },
    { name: "Ends", by: left, of: (row) => h("time", { title: moment(row.notAfterMs) },
      how(row) === "ok" ? words(row) : badge(how(row), words(row))) },
    { name: "At", minor: true, by: left, of: ({ notAfterMs }) => moment(notAfterMs) },
    { name: "Identity", wide: true, by: ({ identity }) => identity, of: ({ identity }) => h("code", null, identity) },
  ];
  const late = rows.filter((row) => how(row) !== "ok");
  const worst = late.some((row) => how(row) === "bad") ? "bad" : "warn";
  const first = rows[0];
  return {
    title: "Certificates",
    nodes: [
      h("div", { class: "heading" }, h("h1", null, "Certificates"),
        first && (late.length ? badge(worst, `${plural(late.length, "certificate")} should have been replaced by now`)
          : badge("ok", `all are good; the next ends in ${span(left(first))}`))),
      h("div", { class: "columns" }, authority("Root", root), authority("Issuer", issuer),
        rotation && authority("The root is being replaced", rotation)),
      rows.length
        ? panel(`Workloads (${rows.length})`, table({ name: "certificates", columns, rows, keyOf: ({ workload }) => workload, levelOf: how, again, stack: true }))
        : empty("No workload has a certificate now.", h("p", null, "A sidecar gets its first one with a token:"),
          command("outrigger token create -n default -s web --label app=web")),
    ],
  };
}

/** What a certificate authority says of itself: text, a certificate's fields, or several. */
function authority(title, told) {
  if (told == null) return null;
  const all = Array.isArray(told) ? told : [told];
  return panel(title, all.map((each) => {
    if (typeof each !== "object") return h("p", null, h("code", null, String(each)));
    return facts(Object.entries(each).filter(([, value]) => value != null && typeof value !== "object")
      .map(([name, value]) => [words(name), text(name, value)]));
  }));
}

const words = (name) => name.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  .replace(/^./, (letter) => letter.toUpperCase());

/** A moment as such, whether it comes as milliseconds or in RFC 3339. */
function text(name, value) {
  const at = /Ms$/.test(name) ? value : /^not/.test(name) ? Date.parse(value) : NaN;
  return Number.isFinite(at) ? moment(at) : h("code", null, String(value));
}
