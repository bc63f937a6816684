// Where things stand in a graph that is read from callers to callees.
//
// In layers: calls that close a cycle are set aside, the longest way from a caller says in which
// layer a service stands, crossings are reduced by sweeps over the layers (each in the order of its
// neighbours' mean), and calls that skip layers get a place of their own in each of them. `along`
// grows with the layers, `across` within one. All in pixels; nothing here draws.

const SWEEPS = 8;
const NUDGES = 12;

/**
 * `nodes`: names; `edges`: `{from, to}`. `size`: `{along, across, gapAlong, gapAcross, lane, row}`
 * of a node. → `{places: name → {along, across}, ways: [points of each edge, in order], along, across}`;
 * a place is a middle; a way's points lie between its ends; `null` for one that goes back.
 */
export function layout(nodes, edges, size) {
  const forward = acyclic(nodes, edges);
  const rank = ranks(nodes, forward);
  const linked = new Set(forward.flatMap(({ from, to }) => [from, to]));
  const { layers, next, chains } = lay(nodes.filter((name) => linked.has(name)), forward, rank);
  untangle(layers, next);
  const across = align(layers, next, size);
  const step = size.along + size.gapAlong;
  const middle = (layer) => layer * step + size.along / 2;
  const places = new Map();
  layers.forEach((layer, at) => layer.forEach((item) => {
    if (item.name != null) places.set(item.name, { along: middle(at), across: across.get(item) });
  }));
  const ways = edges.map((edge) => {
    const chain = chains.get(edge);
    return chain ? chain.map(({ layer, item }) => ({ along: middle(layer), across: across.get(item) })) : null;
  });
  let depth = Math.max(0, ...[...across].map(([item, at]) => at + thickness(item, size) / 2));
  depth = beside(nodes.filter((name) => !linked.has(name)), layers.length, depth, size, places, middle);
  const longest = Math.max(...[...places.values()].map(({ along }) => along), 0) + size.along / 2;
  return { places, ways, along: longest, across: depth };
}

/** The edges without those that lead back to a service on the way to them. */
function acyclic(nodes, edges) {
  const out = new Map(nodes.map((name) => [name, []]));
  const called = new Set();
  for (const edge of edges) {
    out.get(edge.from)?.push(edge);
    if (edge.from !== edge.to) called.add(edge.to);
  }
  const state = new Map();
  const kept = [];
  const visit = (root) => {
    const stack = [[root, 0]];
    state.set(root, "open");
    while (stack.length) {
      const top = stack[stack.length - 1];
      const edge = out.get(top[0])[top[1]++];
      if (!edge) {
        state.set(top[0], "done");
        stack.pop();
      } else if (out.has(edge.to) && state.get(edge.to) !== "open") {
        kept.push(edge);
        if (!state.has(edge.to)) {
          state.set(edge.to, "open");
          stack.push([edge.to, 0]);
        }
      }
    }
  };
  // From where nobody calls first, so that what goes back is what a reader takes to go back.
  for (const name of [...nodes].sort((a, b) => called.has(a) - called.has(b))) {
    if (!state.has(name)) visit(name);
  }
  return kept;
}

function ranks(nodes, edges) {
  const out = new Map(nodes.map((name) => [name, []]));
  const waiting = new Map(nodes.map((name) => [name, 0]));
  for (const { from, to } of edges) {
    out.get(from).push(to);
    waiting.set(to, waiting.get(to) + 1);
  }
  const rank = new Map(nodes.map((name) => [name, 0]));
  const roots = nodes.filter((name) => waiting.get(name) === 0);
  const ready = [...roots];
  while (ready.length) {
    const name = ready.pop();
    for (const to of out.get(name)) {
      rank.set(to, Math.max(rank.get(to), rank.get(name) + 1));
      waiting.set(to, waiting.get(to) - 1);
      if (waiting.get(to) === 0) ready.push(to);
    }
  }
  // Whom nobody calls stands next to whom it calls.
  for (const name of roots) {
    const nearest = Math.min(...out.get(name).map((to) => rank.get(to)));
    if (Number.isFinite(nearest)) rank.set(name, Math.max(0, nearest - 1));
  }
  return rank;
}

/** Items in layers: services, and the places of calls that skip layers; `next`: what they lead to. */
function lay(nodes, edges, rank) {
  const layers = [];
  const next = new Map();
  const put = (layer, item) => {
    (layers[layer] ??= []).push(item);
    next.set(item, []);
    return item;
  };
  const items = new Map(nodes.map((name) => [name, put(rank.get(name), { name })]));
  const chains = new Map();
  for (const edge of edges) {
    const chain = [];
    let last = items.get(edge.from);
    for (let layer = rank.get(edge.from) + 1; layer < rank.get(edge.to); layer++) {
      const item = put(layer, { name: null });
      chain.push({ layer, item });
      next.get(last).push(item);
      last = item;
    }
    next.get(last).push(items.get(edge.to));
    chains.set(edge, chain);
  }
  return { layers: Array.from(layers, (layer) => layer ?? []), next, chains };
}

function reversed(next) {
  const back = new Map([...next.keys()].map((item) => [item, []]));
  for (const [item, those] of next) for (const that of those) back.get(that).push(item);
  return back;
}

/** Sorts each layer so that few ways cross; the best of all sweeps stays. */
function untangle(layers, next) {
  const back = reversed(next);
  let best = layers.map((layer) => [...layer]);
  let fewest = crossings(layers, next);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep++) {
    const down = sweep % 2 === 0;
    const order = layers.map((_, index) => (down ? index : layers.length - 1 - index));
    for (const index of order.slice(1)) {
      const before = layers[down ? index - 1 : index + 1];
      const at = new Map(before.map((item, place) => [item, place]));
      const mean = new Map(layers[index].map((item, place) => {
        const near = (down ? back : next).get(item).map((other) => at.get(other));
        return [item, near.length ? near.reduce((a, b) => a + b) / near.length : place];
      }));
      layers[index].sort((a, b) => mean.get(a) - mean.get(b));
    }
    const now = crossings(layers, next);
    if (now < fewest) [fewest, best] = [now, layers.map((layer) => [...layer])];
  }
  best.forEach((layer, index) => (layers[index] = layer));
}

function crossings(layers, next) {
  let sum = 0;
  for (let index = 0; index + 1 < layers.length; index++) {
    const at = new Map(layers[index + 1].map((item, place) => [item, place]));
    const seen = [];
    for (const item of layers[index]) {
      const places = next.get(item).map((other) => at.get(other));
      for (const place of places) for (const other of seen) if (other > place) sum++;
      seen.push(...places);
    }
  }
  return sum;
}

const thickness = (item, size) => (item.name == null ? size.lane : size.across);

/** Draws each item towards the mean of its neighbours, as far as the others in its layer allow. */
function align(layers, next, size) {
  const back = reversed(next);
  const across = new Map();
  const apart = (a, b) => (thickness(a, size) + thickness(b, size)) / 2 + size.gapAcross;
  for (const layer of layers) {
    layer.forEach((item, at) =>
      across.set(item, at ? across.get(layer[at - 1]) + apart(layer[at - 1], item) : 0));
  }
  for (let nudge = 0; nudge < NUDGES; nudge++) {
    for (const layer of nudge % 2 ? layers : [...layers].reverse()) {
      const wished = layer.map((item) => {
        const near = [...next.get(item), ...back.get(item)].map((other) => across.get(other));
        return near.length ? near.reduce((a, b) => a + b) / near.length : across.get(item);
      });
      const low = [];
      const high = [];
      layer.forEach((item, at) => {
        low[at] = at ? Math.max(wished[at], low[at - 1] + apart(layer[at - 1], item)) : wished[at];
      });
      for (let at = layer.length - 1; at >= 0; at--) {
        const below = layer[at + 1];
        high[at] = below ? Math.min(wished[at], high[at + 1] - apart(layer[at], below)) : wished[at];
      }
      layer.forEach((item, at) => across.set(item, (low[at] + high[at]) / 2));
    }
  }
  const least = Math.min(...[...across].map(([item, at]) => at - thickness(item, size) / 2), Infinity);
  for (const [item, at] of across) across.set(item, at - (Number.isFinite(least) ? least : 0));
  return across;
}

/**
 * Those without any call, after the rest: in further layers of `size.row` each, or across in rows
 * as long as the layers are many. → how far all reaches across.
 */
function beside(alone, layers, depth, size, places, middle) {
  if (size.row) {
    const step = size.across + size.gapAcross;
    alone.forEach((name, at) => places.set(name, {
      along: middle(layers + Math.floor(at / size.row)),
      across: (at % size.row) * step + size.across / 2,
    }));
    return Math.max(depth, Math.min(alone.length, size.row) * step - size.gapAcross);
  }
  const columns = Math.max(layers, alone.length > 24 ? 6 : 3);
  const from = depth ? depth + 2 * size.gapAcross : 0;
  const step = size.across + size.gapAcross;
  alone.forEach((name, at) => places.set(name, {
    along: middle(at % columns),
    across: from + Math.floor(at / columns) * step + size.across / 2,
  }));
  return alone.length ? from + Math.ceil(alone.length / columns) * step - size.gapAcross : depth;
}
