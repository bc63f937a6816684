// The parts that pages are made of: marks, panels, tables, facts, and what stands where nothing is.

import { h, s } from "./dom.js";
import { LEVELS } from "./words.js";

// Told apart by shape first: octagon, triangle, disc, ring.
const SHAPES = {
  bad: "M5 1h6l4 4v6l-4 4H5l-4-4V5z",
  warn: "M8 1.2 15.2 14.4H.8z",
  ok: "M8 3a5 5 0 1 0 .01 0z",
  idle: "M8 3a5 5 0 1 0 .01 0zm0 2a3 3 0 1 1-.01 0z",
};

/** A level's mark, to stand in an SVG of one's own or, through `mark`, in a line of text. */
export const glyph = (level) => [
  s("path", { d: SHAPES[level], "fill-rule": "evenodd" }),
  /bad|warn/.test(level) && s("path", { class: "in", d: "M8 5v4M8 11.2v1.4" }),
];

export const mark = (level, words = LEVELS[level]) =>
  s("svg", { class: `mark ${level}`, viewBox: "0 0 16 16", role: "img", "aria-label": words },
    glyph(level));

const LOCKS = {
  mtls: ["M3 7h10v8H3zM5 7V5a3 3 0 0 1 6 0v2", "mutual TLS"],
  tls: ["M3 7h10v8H3zM5 7V5a3 3 0 0 1 6 0v2", "TLS, the caller unproved"],
  none: ["M3 7h10v8H3zM5 7V4a3 3 0 0 1 5.6-1.4", "plaintext"],
};

/** Whether a way is secured, as a lock and in words. */
export function lock(tls) {
  if (!tls) return "–";
  const [path, words] = LOCKS[tls] ?? LOCKS.none;
  return h("span", { class: `lock ${tls}` },
    s("svg", { class: "mark", viewBox: "0 0 16 16", "aria-hidden": "true" },
      s("path", { class: "line", d: path })), words);
}

/** What something is, in a coloured word. */
export const badge = (level, words) => h("span", { class: `badge ${level}` }, mark(level, ""), words);

/** Why a sidecar answered or closed by itself: the word, which leads to what it means and what to do. */
export const because = (reason) =>
  h("strong", { class: "bad" }, h("a", { href: `/reasons/${encodeURIComponent(reason)}` }, reason));

export const panel = (title, ...children) =>
  h("section", { class: "panel", "data-key": title }, title && h("h2", null, title), children);

/** Names and values: `[name, value, more]`. */
export const facts = (rows) =>
  h("dl", { class: "facts" }, rows.filter(Boolean).map(([name, value, level]) =>
    h("div", { class: level, "data-key": name }, h("dt", null, name), h("dd", null, value))));

/** Where nothing is: what that means, and what to do. */
export const empty = (sentence, ...more) =>
  h("div", { class: "empty" }, h("p", null, sentence), more);

export const command = (text) => h("pre", { tabindex: "0" }, h("code", null, text));

const sorted = new Map();

/**
 * A table. Columns: `{name, of: row → content, by: row → what to sort by, number, wide, minor}`.
 * `stack`: on a narrow screen a row becomes a card. A click on a heading sorts, another the other
 * way round; `again` draws the page anew.
 */
export function table({ name, columns, rows, keyOf, stack, levelOf, again, caption }) {
  const { at, down } = sorted.get(name) ?? {};
  if (at != null) {
    const by = columns[at].by;
    const sign = down ? -1 : 1;
    rows = [...rows].sort((a, b) => sign * compare(by(a), by(b)));
  }
  const heading = (column, index) => {
    const side = { class: kind(column), "aria-sort": at === index && (down ? "descending" : "ascending") };
    if (!column.by || !again) return h("th", { scope: "col", ...side }, column.name);
    const sort = () => {
      sorted.set(name, { at: index, down: at === index ? !down : !!column.number });
      again();
    };
    return h("th", { scope: "col", ...side }, h("button", { type: "button", click: sort }, column.name));
  };
  const cell = (row) => (column) =>
    h("td", { class: kind(column), "data-label": column.name }, column.of(row));
  return h("div", { class: "scroll", "data-key": name },
    h("table", { class: stack && "stack" },
      caption && h("caption", null, caption),
      h("thead", null, h("tr", null, columns.map(heading))),
      h("tbody", null, rows.map((row) =>
        h("tr", { "data-key": keyOf?.(row), class: levelOf?.(row) }, columns.map(cell(row)))))));
}

const kind = ({ number, wide, minor }) =>
  [number && "number", wide && "wide", minor && "minor"].filter(Boolean).join(" ") || null;

function compare(a, b) {
  if (typeof a === "string") return a.localeCompare(b, "en", { numeric: true });
  return (a ?? -1) - (b ?? -1);
}
