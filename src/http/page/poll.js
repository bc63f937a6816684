// Asks again and again while the page is seen, and says how old is what it shows.

import { h, show } from "./dom.js";
import { mark } from "./parts.js";
import { span } from "./words.js";

const PATIENCE_MS = 8000;

/** An answer that is none of ours to draw, in its own words. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** One page of the server, as JSON or, with `text`, as it is. */
export async function ask(url, { text = false } = {}) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" });
  if (!answer.ok) {
    const sentence = (await answer.text()).trim();
    throw new Refused(answer.status, sentence || `the answer was ${answer.status}`);
  }
  return text ? answer.text() : answer.json();
}

let updated = null;
let trouble = null;
let period = 5000;
let turn = 0;
let timer = null;
let running = null;

/**
 * Calls `load`, then `draw` with what came, every `every` milliseconds, in place of whatever was
 * polled before. `refuse` gets an answer that says no.
 */
export function poll(every, load, draw, refuse) {
  period = every;
  running = { load, draw, refuse };
  updated = trouble = null;
  again();
}

/** Asks now. */
export function again() {
  clearTimeout(timer);
  const mine = ++turn;
  if (document.hidden || !running) return;
  const { load, draw, refuse } = running;
  const settle = (act) => (value) => {
    if (mine !== turn) return;
    act(value);
    freshness();
    timer = setTimeout(again, period);
  };
  load().then(settle((data) => {
    [updated, trouble] = [Date.now(), null];
    draw(data);
  }), settle((error) => {
    // Who is there but can't answer is as good as away.
    if (!(error instanceof Refused) || error.status >= 500) {
      trouble = error;
      return;
    }
    [updated, trouble] = [Date.now(), null];
    refuse(error);
  })).catch((error) => {
    // A fault of the page must not pass for fresh.
    trouble = error;
    console.error(error);
    timer = setTimeout(again, period);
  });
}

function freshness() {
  const place = document.getElementById("fresh");
  const age = updated && Date.now() - updated;
  const stale = trouble || (age != null && age > 2 * period + 1000);
  document.body.classList.toggle("stale", !!stale);
  const sentence = updated == null ? "no answer yet" : `not updated for ${span(age)}`;
  if (stale) show(place, mark("warn", ""), h("span", null, sentence));
  else show(place, mark("ok", ""), h("span", null, updated ? "live" : "asking"));
  place.title = stale && trouble ? `The server does not answer: ${trouble.message}` : "";
}

setInterval(freshness, 1000);
document.addEventListener("visibilitychange", again);
