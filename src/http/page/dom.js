// Elements from data, and the way they get onto the page.
//
// Names and paths come from whoever sends requests: they reach the page as text nodes and attribute
// values only. `show` changes what is there into what should be there, in place, so that focus,
// selection, scrolling and open details survive each poll.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes that are null or false are left out; functions are listeners. */
export const h = (name, attributes, ...children) =>
  make(document.createElement(name), attributes, children);

/** An SVG element. */
export const s = (name, attributes, ...children) =>
  make(document.createElementNS(SVG, name), attributes, children);

function make(node, attributes, children) {
  node.on = {};
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value == null || value === false) continue;
    if (typeof value === "function") listen(node, name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

function listen(node, name, act) {
  if (!(name in node.on)) node.addEventListener(name, (event) => node.on[name]?.(event));
  node.on[name] = act;
}

/** How many pixels wide the content may be. */
export function room() {
  const content = document.getElementById("content");
  const { paddingLeft, paddingRight } = getComputedStyle(content);
  return content.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
}

/** Makes the children of `parent` be `wanted`. */
export function show(parent, ...wanted) {
  const focused = document.activeElement;
  settle(parent, wanted.flat(Infinity).filter((child) => child != null && child !== false));
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
}

const key = (node) => node.getAttribute?.("data-key") ?? null;

function settle(parent, wanted) {
  const known = new Map();
  for (const child of parent.childNodes) if (key(child)) known.set(key(child), child);
  let at = parent.firstChild;
  for (const next of wanted) {
    const name = key(next);
    const same = name ? known.get(name) : at && !key(at) ? at : null;
    if (!same) {
      parent.insertBefore(next, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else if (parent.moveBefore) parent.moveBefore(same, at);
    else parent.insertBefore(same, at);
    change(same, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function change(old, next) {
  if (old.nodeType === Node.TEXT_NODE && next.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if (old.nodeName !== next.nodeName || key(old) !== key(next) || !old.on) {
    old.replaceWith(next);
    return;
  }
  // Whether details are open is the reader's to say.
  const kept = (name) => name === "open" && old.nodeName === "DETAILS";
  for (const { name } of [...old.attributes]) {
    if (!next.hasAttribute(name) && !kept(name)) old.removeAttribute(name);
  }
  for (const { name, value } of [...next.attributes]) {
    if (old.getAttribute(name) !== value && !kept(name)) old.setAttribute(name, value);
  }
  for (const name of Object.keys(old.on)) if (!(name in next.on)) old.on[name] = null;
  for (const [name, act] of Object.entries(next.on)) listen(old, name, act);
  settle(old, [...next.childNodes]);
  if (old !== document.activeElement && /^(INPUT|SELECT)$/.test(old.nodeName)) {
    old.value = next.value;
    old.checked = next.checked;
  }
}
