// The drawing of the map: boxes, ways with their numbers, zoom and pan.
//
// From left to right where there is room, from top to bottom on a narrow screen. The numbers change
// with every poll; where things stand changes only when a service or a call comes or goes.

import { h, room, s } from "./dom.js";
import { layout } from "./layout.js";
import { glyph } from "./parts.js";
import { LEVELS, RANK, WARN, count, level, ms, percent, plural, rate } from "./words.js";

const WIDE = { width: 186, height: 70, gapAlong: 86, gapAcross: 26, lane: 22 };
const NARROW = { width: 156, height: 70, gapAlong: 62, gapAcross: 20, lane: 18 };
const SIDE = 356;
const MARGIN = 14;
const KINDS = { workload: "caller", external: "outside", unmeshed: "not meshed" };

let signature = "";
let plan = null;
let view = { x: 0, y: 0, scale: 1 };
let hovered = null;
let held = null;

const svg = () => document.getElementById("graph");

export function graph({ nodes, edges }, focus, again) {
  const narrow = innerWidth <= 680;
  const width = room() - (innerWidth > 1080 ? SIDE : 0) - 2;
  const box = narrow ? NARROW : WIDE;
  const known = new Set(nodes.map(({ name }) => name));
  edges = edges.filter(({ from, to }) => known.has(from) && known.has(to));
  const now = JSON.stringify([narrow, width, nodes.map(({ name }) => name), edges.map(({ from, to }) => [from, to])]);
  if (now !== signature) {
    signature = now;
    plan = plot(nodes, edges, box, narrow && Math.max(1, Math.floor(width / (box.width + box.gapAcross))));
    const height = narrow ? Infinity : innerHeight * 0.66;
    view = fitted(width, height, 0.75);
    const worst = [...nodes].sort((a, b) => RANK[level(a)] - RANK[level(b)] || b.rate - a.rate)[0];
    centre(plan.at.get(worst.name), width, height);
  }
  const { at, ways, height } = plan;
  const whole = height * plan.scale + 2 * MARGIN;
  const shownHeight = narrow ? whole : Math.max(300, Math.min(innerHeight * 0.66, whole));
  const hover = (name) => () => {
    hovered = name;
    again();
  };
  const near = ({ from, to }) => !hovered || from === hovered || to === hovered;
  const taken = [];
  const drawing = s("g", { id: "drawing", transform: transform() },
    edges.map((edge, index) => way(edge, ways[index], near(edge))),
    edges.map((edge, index) => figures(edge, ways[index], taken, near(edge))),
    nodes.map((node) => place(node, at.get(node.name), box, node.name === focus, hover, narrow)));
  const zoomed = (factor) => () => zoom(factor);
  return h("div", { class: "map", "data-key": "graph" },
    s("svg", {
      id: "graph",
      class: view.scale < 0.55 ? "far" : null,
      height: Math.ceil(shownHeight),
      role: "group",
      "aria-label": `Map of ${plural(nodes.length, "service")} and ${plural(edges.length, "call")}`,
      ...gestures(narrow),
    }, drawing),
    h("div", { class: "zoom" },
      h("button", { type: "button", "aria-label": "Zoom in", click: zoomed(1.25) }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", click: zoomed(0.8) }, "−"),
      h("button", { type: "button", "aria-label": "Show all of the map", click: () => {
        view = fitted(svg().clientWidth, svg().clientHeight, 0.05);
        look();
      } }, "all")));
}

/** Where everything stands, in pixels of the drawing. */
function plot(nodes, edges, box, narrow) {
  const behind = edges.length ? (narrow ? 44 : 76) : 0;
  const [along, across] = narrow ? [box.height, box.width] : [box.width, box.height];
  const { gapAlong, gapAcross, lane } = box;
  const laid = layout(nodes.map(({ name }) => name), edges, { along, across, gapAlong, gapAcross, lane, row: narrow || null });
  const turn = ([a, b]) => (narrow ? [b, a] : [a, b]);
  const at = new Map([...laid.places].map(([name, place]) => [name, turn([place.along, place.across])]));
  const ports = spread(edges, laid.places, across / 2);
  let back = 0;
  const ways = edges.map((edge, index) => {
    const [from, to] = [laid.places.get(edge.from), laid.places.get(edge.to)];
    if (!laid.ways[index]) {
      back = behind;
      return { back: behind, ends: [from, to], across, turn };
    }
    const points = [[from.along + along / 2, from.across + ports.out.get(edge)]];
    for (const lane of laid.ways[index]) {
      points.push([lane.along - along / 2, lane.across], [lane.along + along / 2, lane.across]);
    }
    points.push([to.along - along / 2, to.across + ports.into.get(edge)]);
    return { points, turn };
  });
  const [width, height] = turn([laid.along, laid.across + back]);
  return { width, height, at, ways };
}

/** Where on a box each way begins and ends, so that no two do in one point. */
function spread(edges, places, room) {
  const side = (mine, other) => {
    const offsets = new Map();
    for (const name of new Set(edges.map((edge) => edge[mine]))) {
      const those = edges.filter((edge) => edge[mine] === name);
      those.sort((a, b) => places.get(a[other]).across - places.get(b[other]).across);
      those.forEach((edge, index) =>
        offsets.set(edge, ((index + 0.5) / those.length - 0.5) * Math.min(room, those.length * 14)));
    }
    return offsets;
  };
  return { out: side("from", "to"), into: side("to", "from") };
}

function way(edge, { points, back, ends, across, turn }, near) {
  const write = (...those) => those.map((point) => turn(point).map(Math.round).join(" ")).join(" ");
  let path;
  if (back) {
    const [from, to] = ends.map(({ along, across: middle }) => [along, middle + across / 2]);
    const [right, left] = [from[0] + (from[0] === to[0] ? 40 : 0), to[0] - (from[0] === to[0] ? 40 : 0)];
    const depth = Math.max(from[1], to[1]) + back * 1.15;
    path = `M${write([right, from[1]])} C${write([right, depth], [left, depth], [left, to[1] + 6])}`;
  } else {
    path = `M${write(points[0])}`;
    for (let index = 1; index < points.length; index++) {
      const [[a, b], [c, d]] = [points[index - 1], points[index]];
      const middle = (a + c) / 2;
      path += index % 2 ? ` C${write([middle, b], [middle, d], [c, d])}` : ` L${write([c, d])}`;
    }
  }
  const [a, b] = back ? [ends[1].along - (ends[0] === ends[1] ? 40 : 0), ends[1].across + across / 2] : points.at(-1);
  const head = back
    ? `M${write([a - 4, b + 8])} L${write([a, b + 1])} L${write([a + 4, b + 8])}z`
    : `M${write([a - 8, b - 4])} L${write([a - 1, b])} L${write([a - 8, b + 4])}z`;
  const plain = edge.tls === "none" ? "plain" : "";
  return s("g", { class: `way ${level(edge)} ${plain} ${near ? "" : "dim"}`, "data-key": `way ${edge.from} ${edge.to}` },
    s("path", { class: "line", d: path, "stroke-width": (1.3 + Math.min(3, Math.log10(1 + edge.rate))).toFixed(1) }),
    s("path", { class: "head", d: head }));
}

/** A call's numbers, on its way, where no others are. */
function figures(edge, { points, back, ends, across, turn }, taken, near) {
  const bad = edge.failureRate >= WARN;
  const held = edge.open > 0 && `${count(edge.open)} open`;
  if (!(edge.rate > 0) && !held) return null;
  const how = bad ? `${percent(edge.failureRate)} fail` : ms(edge.p99Ms);
  const lines = edge.rate > 0 ? [held ? `${rate(edge.rate)} · ${held}` : rate(edge.rate), how] : [held];
  const width = Math.max(...lines.map((line) => line.length)) * 6.3 + 6;
  let spot = null;
  for (const t of back ? [0] : [0.5, 0.4, 0.6, 0.3, 0.7, 0.22, 0.78]) {
    const [x, y] = back
      ? turn([(ends[0].along + ends[1].along) / 2, Math.max(ends[0].across, ends[1].across) + across / 2 + back * 0.87])
      : turn(between(points[0], points[1], t));
    const free = taken.every(([a, b, w]) => Math.abs(a - x) > (w + width) / 2 || Math.abs(b - y) > 32);
    spot ??= [x, y];
    if (free) {
      spot = [x, y];
      break;
    }
  }
  taken.push([...spot, width]);
  return s("text", {
    class: `figures ${level(edge)} ${near ? "" : "dim"}`,
    "data-key": `figures ${edge.from} ${edge.to}`,
  }, lines.map((line, index) =>
    s("tspan", { x: Math.round(spot[0]), y: Math.round(spot[1] + (index ? 14 : -5)) }, line)),
  s("title", null, `${edge.from} calls ${edge.to} (${edge.protocol ?? "unknown"}, ${edge.tls === "none" ? "plaintext" : edge.tls ?? "no connection"}): ${rate(edge.rate)}, ${percent(edge.failureRate)} fail, p50 ${ms(edge.p50Ms)}, p99 ${ms(edge.p99Ms)}, ${count(edge.open)} open`));
}

function between([a, b], [c, d], t) {
  const u = 1 - t;
  const middle = (a + c) / 2;
  return [
    u ** 3 * a + 3 * u * t * middle + t ** 3 * c,
    (u ** 3 + 3 * u * u * t) * b + (3 * u * t * t + t ** 3) * d,
  ];
}

function place(node, [x, y], { width, height }, focused, hover, narrow) {
  const state = level(node);
  const { ejected = 0, halfOpen = 0, ready = 0 } = node.endpoints ?? {};
  const traffic = node.rate > 0
    ? [rate(node.rate), `${percent(node.failureRate)} fail`]
    : [node.open > 0 ? `${count(node.open)} open` : node.calls > 0 ? `calls ${rate(node.calls)}` : node.holds > 0 ? `holds ${count(node.holds)} open` : "no traffic"];
  const left = node.kind === "service" ? 10 : 14;
  const out = ejected + halfOpen;
  const third = out
    ? `${out} of ${narrow ? out + ready : plural(out + ready, "endpoint")} out`
    : (node.calls > 0 || node.holds > 0) && !(node.rate > 0 || node.open > 0) ? "is not called"
    : node.rate > 0 && node.open > 0 ? `p99 ${ms(node.p99Ms)} · ${count(node.open)} open`
    : node.rate > 0 ? `${narrow ? "" : `p50 ${ms(node.p50Ms)} · `}p99 ${ms(node.p99Ms)}` : plural(ready, "endpoint");
  const short = shortened(node, Math.floor((width - 40) / 7.9));
  const words = `${node.name}: ${LEVELS[state]}, ${traffic.join(", ")}, p99 ${ms(node.p99Ms)}`;
  const kind = KINDS[node.kind] ? ` · ${KINDS[node.kind]}` : "";
  return s("a", {
    class: `node ${state} ${node.kind} ${focused ? "focused" : ""}`,
    href: `#/service/${encodeURIComponent(node.name)}`,
    transform: `translate(${Math.round(x - width / 2)} ${Math.round(y - height / 2)})`,
    "data-key": `node ${node.name}`,
    "aria-label": words,
    mouseenter: hover(node.name),
    mouseleave: hover(null),
    focus: () => reveal([x, y]),
  },
    s("title", null, words + kind),
    s("rect", { width, height, rx: node.kind === "service" ? 8 : 24 }),
    s("svg", { class: `mark ${state}`, x: left, y: 13, width: 14, height: 14, viewBox: "0 0 16 16" }, glyph(state)),
    s("text", { class: "name", x: left + 20, y: 25 }, short),
    s("text", { class: "numbers", x: left + 20, y: 43 }, traffic.join(" · ")),
    s("text", { class: `lesser ${out ? "out" : ""}`, x: left + 20, y: 59 }, third));
}

/** A name that fits: first the namespace goes, then its end. */
function shortened({ name, namespace }, fits) {
  if (name.length <= fits) return name;
  const bare = namespace && name.endsWith(`.${namespace}`) ? name.slice(0, -namespace.length - 1) : name;
  return bare.length <= fits ? bare : `${bare.slice(0, fits - 1)}…`;
}

/** The whole map in a space, or as much of it as can be read at `least`. */
function fitted(width, height, least) {
  const room = [width - 2 * MARGIN, height - 2 * MARGIN];
  const scale = Math.max(least, Math.min(1.15, room[0] / plan.width, room[1] / plan.height));
  plan.scale ??= scale;
  const shown = Math.min(height, Math.max(300, plan.height * scale + 2 * MARGIN));
  const centred = (room, size) => Math.max(MARGIN, (room - size * scale) / 2);
  return { scale, x: centred(width, plan.width), y: height === Infinity ? MARGIN : centred(shown, plan.height) };
}

/** What is larger than its space is seen around one point. */
function centre([x, y], width, height) {
  const along = (at, room, size) =>
    size + 2 * MARGIN <= room ? null : Math.min(MARGIN, Math.max(room - size - MARGIN, room / 2 - at));
  const { scale } = view;
  view.x = along(x * scale, width, plan.width * scale) ?? view.x;
  if (height !== Infinity) view.y = along(y * scale, height, plan.height * scale) ?? view.y;
}

const transform = () => `translate(${view.x.toFixed(1)} ${view.y.toFixed(1)}) scale(${view.scale.toFixed(3)})`;

function look() {
  document.getElementById("drawing").setAttribute("transform", transform());
  svg().classList.toggle("far", view.scale < 0.55);
}

function zoom(factor, x = svg().clientWidth / 2, y = svg().clientHeight / 2) {
  const scale = Math.max(0.05, Math.min(3, view.scale * factor));
  const by = scale / view.scale;
  view = { scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by };
  look();
}

/** Dragging moves the map, Ctrl and the wheel zoom; a narrow screen scrolls up and down as ever. */
function gestures(narrow) {
  return {
    wheel: (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const { left, top } = svg().getBoundingClientRect();
      zoom(Math.exp(-event.deltaY / 300), event.clientX - left, event.clientY - top);
    },
    pointerdown: (event) => {
      held = { x: event.clientX, y: event.clientY, view, moved: false };
    },
    pointermove: (event) => {
      if (!held || !event.buttons) return;
      const [dx, dy] = [event.clientX - held.x, narrow ? 0 : event.clientY - held.y];
      if (!held.moved && Math.hypot(dx, dy) < 5) return;
      if (!held.moved) svg().setPointerCapture(event.pointerId);
      held.moved = true;
      view = { ...view, x: held.view.x + dx, y: held.view.y + dy };
      look();
    },
    // The end of a drag is no visit.
    click: (event) => held?.moved && event.preventDefault(),
    dragstart: (event) => event.preventDefault(),
  };
}

/** Whoever comes by keyboard sees where they are. */
function reveal([x, y]) {
  const [left, top] = [view.x + x * view.scale, view.y + y * view.scale];
  const { clientWidth: width, clientHeight: height } = svg();
  if (left > 0 && left < width && top > 0 && top < height) return;
  view = { ...view, x: width / 2 - x * view.scale, y: height / 2 - y * view.scale };
  look();
}
