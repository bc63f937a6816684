// Numbers with their units, and what counts as bad. A dash stands for what nobody knows.

const NONE = "–";

const digits = (value, places) =>
  value.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });

/** Per second. */
export function rate(value) {
  if (value == null) return NONE;
  if (value > 0 && value < 0.05) return "<0.1/s";
  if (value >= 10_000) return `${digits(value / 1000, 1)}k/s`;
  return `${digits(value, value < 10 && value > 0 ? 1 : 0)}/s`;
}

/** A share from 0 to 1. */
export function percent(share) {
  if (share == null) return NONE;
  if (share > 0 && share < 0.001) return "<0.1 %";
  return `${digits(share * 100, share > 0 && share < 0.1 ? 1 : 0)} %`;
}

/** The failures of what had requests. */
export const failures = (row) => (row.rate > 0 ? percent(row.failureRate) : NONE);

/** How long something took, in milliseconds. */
export function ms(value) {
  if (value == null) return NONE;
  if (value >= 60_000) return span(value);
  if (value >= 1000) return `${digits(value / 1000, value < 10_000 ? 2 : 1)} s`;
  return `${digits(value, value > 0 && value < 1 ? 2 : value < 10 && value > 0 ? 1 : 0)} ms`;
}

const UNITS = [["d", 86_400_000], ["h", 3_600_000], ["min", 60_000], ["s", 1000]];

/** How long something lasts, in at most two units. */
export function span(millis) {
  if (millis == null) return NONE;
  const first = UNITS.findIndex(([, size]) => millis >= size);
  if (first < 0) return "0 s";
  const [unit, size] = UNITS[first];
  const whole = Math.floor(millis / size);
  const [lesser, part] = UNITS[first + 1] ?? [];
  const rest = part ? Math.floor((millis % size) / part) : 0;
  return rest && whole < 10 ? `${whole} ${unit} ${rest} ${lesser}` : `${whole} ${unit}`;
}

export const bytes = (count) => {
  if (count == null) return NONE;
  if (count < 1024) return `${count} B`;
  return count < 1 << 20 ? `${digits(count / 1024, 1)} KiB` : `${digits(count / (1 << 20), 1)} MiB`;
};

export const count = (value) => (value == null ? NONE : digits(value, 0));

export const plural = (number, one, many = `${one}s`) =>
  `${count(number)} ${number === 1 ? one : many}`;

/** The time of day of a moment. */
export const clock = (millis) => new Date(millis).toLocaleTimeString("en-GB");

/** A moment with its date. */
export const moment = (millis) => new Date(millis).toLocaleString("sv");

/** The share of failures from which a service is worth a look, and from which it is failing. */
export const WARN = 0.01;
export const BAD = 0.05;

/** How a node or an edge is: `bad`, `warn`, `ok` or `idle`. */
export function level({ rate: requests, failureRate, endpoints, calls, open, holds }) {
  const { ready = 1, ejected = 0, halfOpen = 0 } = endpoints ?? {};
  if (requests > 0 && failureRate >= BAD) return "bad";
  if (ejected > 0 && ready === 0) return "bad";
  if (requests > 0 && failureRate >= WARN) return "warn";
  if (ejected + halfOpen > 0) return "warn";
  return requests > 0 || calls > 0 || open > 0 || holds > 0 ? "ok" : "idle";
}

/** What a level means, in words. */
export const LEVELS = { bad: "failing", warn: "worth a look", ok: "well", idle: "no traffic" };

/** The worse first. */
export const RANK = { bad: 0, warn: 1, ok: 2, idle: 3 };
