// A chart of a few lines over the last minutes. Hovering, or the arrow keys, reads one moment.
//
// A moment without a value is a gap. The scale begins at zero and ends at a round number; the
// lines are told apart by their dashes, not by colour alone.

import { h, s } from "./dom.js";
import { clock } from "./words.js";

const HEIGHT = 150;
const EDGE = { left: 58, right: 10, top: 10, bottom: 22 };

const read = new Map();

/**
 * `lines`: `[{name, of: moment → number or null, class}]`; `unit`: number → text; `width` in
 * pixels; `least`: what the scale reaches at least.
 */
export function chart({ title, series, lines, unit, width, least, again }) {
  const room = { width: width - EDGE.left - EDGE.right, height: HEIGHT - EDGE.top - EDGE.bottom };
  const values = lines.flatMap(({ of }) => series.map(of)).filter((value) => value != null);
  const top = round(Math.max(least, ...values));
  const [first, last] = [series[0]?.atMs ?? 0, series.at(-1)?.atMs ?? 1];
  const x = (at) => EDGE.left + ((at - first) / Math.max(1, last - first)) * room.width;
  const y = (value) => EDGE.top + (1 - value / top) * room.height;
  const at = nearest(series, read.get(title));
  const marks = [0, 0.5, 1].map((part) => s("g", null,
    s("path", { class: "grid", d: `M${EDGE.left} ${y(top * part)}h${room.width}` }),
    s("text", { class: "tick end", x: EDGE.left - 6, y: y(top * part) + 4 }, unit(top * part))));
  const times = series.length > 1 && [first, (first + last) / 2, last].map((moment, index) =>
    s("text", { class: `tick ${["", "middle", "end"][index]}`, x: x(moment), y: HEIGHT - 5 }, clock(moment).slice(0, 5)));
  const cursor = at && s("g", null,
    s("path", { class: "cursor", d: `M${x(at.atMs)} ${EDGE.top}v${room.height}` }),
    lines.map(({ of, class: name }) =>
      of(at) != null && s("circle", { class: name, cx: x(at.atMs), cy: y(of(at)), r: 3.5 })));
  const moment = at ?? series.at(-1);
  const look = (millis) => {
    read.set(title, millis);
    again();
  };
  const move = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    const part = (event.clientX - box.left - EDGE.left) / room.width;
    look(first + Math.max(0, Math.min(1, part)) * (last - first));
  };
  const step = (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") look(null);
    if (!by || !series.length) return;
    event.preventDefault();
    const index = series.indexOf(at ?? series.at(-1)) + (at ? by : 0);
    look(series[Math.max(0, Math.min(series.length - 1, index))].atMs);
  };
  return h("figure", { class: "chart", "data-key": title },
    h("figcaption", null,
      h("strong", null, title),
      at && h("span", { class: "quiet" }, clock(at.atMs)),
      lines.map(({ name, of, class: line }) => h("span", { class: `key ${line}` },
        lines.length > 1 && s("svg", { width: 18, height: 8, "aria-hidden": "true" }, s("path", { class: line, d: "M0 4h18" })),
        name && `${name} `, h("b", null, moment ? unit(of(moment)) : "–")))),
    s("svg", {
      width,
      height: HEIGHT,
      tabindex: "0",
      role: "img",
      "aria-label": `${title} of the last minutes; the arrow keys read it`,
      pointermove: move,
      pointerleave: () => look(null),
      keydown: step,
    },
      marks, times,
      lines.map(({ of, class: name }) => s("path", { class: `line ${name}`, d: path(series, of, x, y) })),
      cursor));
}

function path(series, of, x, y) {
  let text = "";
  let pen = "M";
  series.forEach((moment, index) => {
    const value = of(moment);
    if (value == null) {
      pen = "M";
      return;
    }
    text += `${pen}${x(moment.atMs).toFixed(1)} ${y(value).toFixed(1)}`;
    const alone = pen === "M" && (series[index + 1] == null || of(series[index + 1]) == null);
    if (alone) text += "h1";
    pen = "L";
  });
  return text;
}

/** 1, 2 or 5 times a power of ten, and not less. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((bound) => bound >= value * 0.999);
}

const nearest = (series, millis) =>
  millis == null || !series.length ? null
    : series.reduce((a, b) => (Math.abs(b.atMs - millis) < Math.abs(a.atMs - millis) ? b : a));
