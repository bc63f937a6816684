// Live rates from two looks at `/metrics`, some seconds apart: what came in between.

const LINE = /^(outrigger_requests_total|outrigger_request_duration_seconds_bucket|outrigger_requests_open)\{(.*)\} (\S+)/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;
// unknown, deadline exceeded, and unimplemented to data loss
const FAILED_GRPC = new Set(["2", "4", "12", "13", "14", "15"]);

/** By direction and service: `{requests, failed, open, buckets: upper bound in ms → count}`. */
export function counted(text) {
  const sums = new Map();
  for (const line of text.split("\n")) {
    const [, family, labels, number] = LINE.exec(line) ?? [];
    if (!family) continue;
    const of = Object.fromEntries([...labels.matchAll(LABEL)].map(([, name, value]) => [name, value]));
    const key = `${of.direction} ${of.service}`;
    const sum = sums.get(key) ?? { direction: of.direction, service: of.service, requests: 0, failed: 0, open: 0, buckets: new Map() };
    sums.set(key, sum);
    const count = Number(number);
    if (family === "outrigger_requests_total") {
      sum.requests += count;
      if (failed(of)) sum.failed += count;
    } else if (family === "outrigger_requests_open") {
      sum.open += count;
    } else {
      const bound = of.le === "+Inf" ? Infinity : Number(of.le) * 1000;
      sum.buckets.set(bound, (sum.buckets.get(bound) ?? 0) + count);
    }
  }
  return sums;
}

/** Nobody's failure: a caller that left, and a pooled connection that nobody used. */
const excused = (code, reason) => reason === "client-closed" || (reason === "idle-timeout" && code === "0");

export const failed = ({ code, grpc_status: grpc, reason }) =>
  !excused(code, reason) && (/^5/.test(code) || FAILED_GRPC.has(grpc) || !!reason);

/** What came between two looks, and is open now: `{direction, service, rate, failureRate, p50Ms, p99Ms, open}` of each. */
export function between(earlier, later, seconds) {
  return [...later].map(([key, now]) => {
    const then = earlier.get(key) ?? { requests: 0, failed: 0, buckets: new Map() };
    const requests = Math.max(0, now.requests - then.requests);
    const buckets = [...now.buckets]
      .map(([bound, count]) => [bound, count - (then.buckets.get(bound) ?? 0)])
      .sort(([a], [b]) => a - b);
    return {
      direction: now.direction,
      service: now.service,
      rate: requests / seconds,
      failureRate: requests ? Math.max(0, now.failed - then.failed) / requests : null,
      p50Ms: quantile(buckets, 0.5),
      p99Ms: quantile(buckets, 0.99),
      open: now.open,
    };
  });
}

/** Within a bucket it is taken to lie in proportion, as Prometheus does. */
function quantile(buckets, part) {
  const all = buckets.at(-1)?.[1];
  if (!all) return null;
  const wanted = part * all;
  let [low, below] = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= wanted) {
      return bound === Infinity ? low : low + ((bound - low) * (wanted - below)) / Math.max(1, count - below);
    }
    [low, below] = [bound, count];
  }
  return low;
}
