// One sidecar: whether it is well, who it is, whom it calls and who calls it, and how that goes.

import { h, show } from "./dom.js";
import { badge, because, command, empty, facts, lock, mark, panel, table } from "./parts.js";
import { Refused, ask, poll } from "./poll.js";
import { between, counted } from "./metrics.js";
import { bytes, count, failures, level, moment, ms, plural, rate, span } from "./words.js";

const EVERY = 3000;
const CONNECTIONS = 100;
const RAW = ["/pages", "/services", "/endpoints", "/routes", "/policies", "/connections", "/plaintext", "/certs", "/config", "/metrics", "/log"];

let earlier = null;

async function load() {
  const missing = ask("/ready", { text: true }).then(() => null, (error) => {
    if (error instanceof Refused) return error.message;
    throw error;
  });
  const [metrics, ...pages] = await Promise.all([
    ask("/metrics", { text: true }), missing,
    ...["/config", "/certs", "/services", "/endpoints", "/connections"].map((path) => ask(path)),
  ]);
  const now = { at: performance.now(), sums: counted(metrics) };
  const flows = earlier ? between(earlier.sums, now.sums, (now.at - earlier.at) / 1000) : null;
  earlier = now;
  return [flows, ...pages];
}

function draw([flows, missing, config, certs, services, endpoints, { connections }]) {
  const again = () => draw([flows, missing, config, certs, services, endpoints, { connections }]);
  const { name, namespace } = config.workload ?? {};
  const title = `${name}.${namespace}`;
  const plane = services.controlPlane;
  const out = endpoints.endpoints.filter(({ state }) => state === "ejected").length;
  document.title = `${missing ? "not ready: " : ""}${title} · Outrigger`;
  show(document.getElementById("content"),
    h("div", { class: "heading" }, h("h1", null, title),
      missing ? badge("bad", missing) : badge("ok", "ready")),
    plane && !plane.connected && h("ul", { class: "problems" }, h("li", null, mark("warn", ""),
      h("span", null, `The control plane at ${plane.address} is away${plane.error ? `: ${plane.error}` : ""}. What it said last still holds.`))),
    facts([
      ["Identity", h("code", null, certs.identity ?? "none")],
      ["Certificate", ...ends(certs)],
      ["Services", count(services.services.length)],
      ["Endpoints out", count(out), out ? "warn" : null],
      ["Connections", count(connections.length)],
      plane && ["Control plane", plane.connected ? `heard ${span(plane.ageMs)} ago` : "away", plane.connected ? null : "warn"],
    ]),
    panel("Traffic now", traffic(flows, again)),
    panel("Endpoints", reached(endpoints.endpoints, again)),
    panel("Certificates", certificates(certs)),
    panel(`Connections (${count(connections.length)})`, opened(connections, again)),
    panel("As JSON", h("p", { class: "links" }, RAW.map((path) => h("a", { href: path }, path))),
      h("p", { class: "quiet" }, "What would become of a request:"),
      command("outrigger explain name.namespace:port --method GET --path /")));
}

function ends({ notAfter }) {
  if (!notAfter) return ["none", "bad"];
  const left = Date.parse(notAfter) - Date.now();
  return [left > 0 ? `ends in ${span(left)}` : `ended ${span(-left)} ago`, left > 0 ? null : "bad"];
}

function traffic(flows, again) {
  if (!flows) return h("p", { class: "quiet" }, "Rates need a second look, in a moment.");
  if (!flows.length) return empty("No request has come by yet.", h("p", null, "Send one through its outbound port:"),
    command("curl -H 'Host: web' http://127.0.0.1:15001/"));
  const columns = [
    { name: "Direction", by: ({ direction }) => direction, of: ({ direction }) => direction },
    { name: "Service", wide: true, by: ({ service }) => service, of: (flow) => h("span", { class: "named" }, mark(level(flow)), flow.service) },
    { name: "Rate", number: true, by: (flow) => flow.rate, of: (flow) => rate(flow.rate) },
    { name: "Failures", number: true, by: (flow) => flow.failureRate, of: failures },
    { name: "p50", number: true, minor: true, by: (flow) => flow.p50Ms, of: (flow) => ms(flow.p50Ms) },
    { name: "p99", number: true, by: (flow) => flow.p99Ms, of: (flow) => ms(flow.p99Ms) },
    { name: "Open", number: true, by: (flow) => flow.open, of: (flow) => count(flow.open) },
  ];
  return table({ name: "traffic", columns, rows: flows, keyOf: ({ direction, service }) => `${direction} ${service}`, levelOf: level, again, stack: true });
}

const STATES = { ready: "ok", ejected: "bad", "half-open": "warn", connecting: "idle" };

function reached(endpoints, again) {
  if (!endpoints.length) return h("p", { class: "quiet" }, "It knows no endpoint: none of its services has one, or it has asked for none.");
  const columns = [
    { name: "Service", wide: true, by: ({ service }) => service, of: ({ service }) => service },
    { name: "Address", by: ({ address }) => address, of: ({ address, host }) => h("code", { title: host }, address) },
    { name: "Workload", by: ({ workload }) => workload, of: ({ workload }) => workload || "–" },
    { name: "Circuit", by: ({ state }) => state, of: ({ state, readmitInMs }) =>
      h("span", null, badge(STATES[state] ?? "idle", state), readmitInMs != null && ` asked again in ${span(readmitInMs)}`) },
    { name: "In flight", number: true, by: (row) => row.inFlight, of: (row) => count(row.inFlight) },
    { name: "Latency", number: true, by: (row) => row.ewmaMs, of: (row) => ms(row.ewmaMs) },
    { name: "Last error", wide: true, of: ({ lastError }) => lastError
      ? h("span", null, because(lastError.reason), ` ${span(lastError.agoMs)} ago: ${lastError.text}`) : "–" },
  ];
  return table({ name: "endpoints", columns, rows: endpoints, keyOf: ({ service, address }) => `${service} ${address}`, again, stack: true });
}

function certificates({ identity, note, serial, notBefore, notAfter, nextRotation, trustBundle }) {
  if (!identity) return h("p", null, note);
  const at = (text) => (Number.isNaN(Date.parse(text)) ? text ?? "–" : moment(Date.parse(text)));
  return [
    facts([["Serial", h("code", null, serial)], ["From", at(notBefore)], ["Until", at(notAfter)], ["Replaced", at(nextRotation)]]),
    h("p", { class: "quiet" }, `It trusts ${plural(trustBundle.length, "root")}:`),
    table({ name: "roots", rows: trustBundle, columns: [
      { name: "Root", wide: true, of: ({ subject }) => subject },
      { name: "Until", of: ({ notAfter }) => at(notAfter) },
    ] }),
  ];
}

function opened(connections, again) {
  const columns = [
    { name: "Direction", by: ({ direction }) => direction, of: ({ direction }) => direction },
    { name: "Client", by: ({ client }) => client, of: ({ client }) => h("code", null, client) },
    { name: "Secured", by: ({ tls }) => tls, of: ({ tls }) => lock(tls) },
    { name: "Peer", wide: true, minor: true, by: ({ peer }) => peer ?? "", of: ({ peer }) => h("code", null, peer ?? "–") },
    { name: "Protocol", by: ({ protocol }) => protocol, of: ({ protocol }) => protocol },
    { name: "Age", number: true, by: ({ ageMs }) => ageMs, of: ({ ageMs }) => span(ageMs) },
    { name: "In", number: true, minor: true, by: (row) => row.bytesIn, of: (row) => bytes(row.bytesIn) },
    { name: "Out", number: true, minor: true, by: (row) => row.bytesOut, of: (row) => bytes(row.bytesOut) },
  ];
  const rows = connections.slice(0, CONNECTIONS);
  return [
    table({ name: "connections", columns, rows, keyOf: ({ client, listener }) => `${client} ${listener}`, again, stack: true }),
    connections.length > CONNECTIONS && h("p", { class: "quiet" }, `The first ${CONNECTIONS} of them.`),
  ];
}

const refuse = (error) => show(document.getElementById("content"), empty(error.message));
poll(EVERY, load, draw, refuse);
