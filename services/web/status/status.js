// The status page: reads status.json while it is seen, and draws what it says.
// Text goes in as text nodes only.

const EVERY_MS = 2000;

/** Points of a chart: five minutes. */
const POINTS = 150;

/** What is not looked at for this long has a hole that no line may hide. */
const HOLE_MS = 3 * EVERY_MS;

/** What a close code means (PROTOCOL.md, section 6). */
const CODES = {
  0: "broken off", 1000: "the client asked", 1001: "shutting down", 1003: "wrong kind of frame", 1007: "invalid UTF-8", 1008: "not signed in, or abuse",
  1009: "frame too large", 1011: "internal error", 1013: "gateway full", 4001: "session revoked", 4003: "account disabled", 4102: "slow consumer",
  4103: "too many of this user", 4200: "rebalancing", 4201: "no pong", 4203: "token expired",
};

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  element.append(...children.map(String));
  return element;
}

const svg = (tag, properties) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
  return element;
};

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const small = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const say = (value) => (value >= 100 ? whole : small).format(value);

/** A line of the last minutes; null is where nothing is known. */
class Chart {
  #points = [];
  #line = svg("path", { class: "line" });
  #now = document.createElement("output");
  #name;
  #picture = svg("svg", { viewBox: `0 0 ${POINTS} 100`, preserveAspectRatio: "none", role: "img" });

  constructor(name) {
    this.#name = name;
    this.#picture.append(svg("path", { class: "ground", d: `M0 100H${POINTS}` }), this.#line);
    const caption = document.createElement("figcaption");
    caption.append(name, this.#now);
    const figure = document.createElement("figure");
    figure.append(caption, this.#picture);
    byId("charts").append(figure);
  }

  add(value) {
    this.#points.push(value);
    if (this.#points.length > POINTS) this.#points.shift();
    const top = Math.max(1, ...this.#points);
    const from = POINTS - this.#points.length;
    let pen = "M";
    const path = this.#points.map((value, i) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      const step = `${pen}${from + i} ${(100 - (98 * value) / top).toFixed(1)}`;
      pen = "L";
      return step;
    });
    this.#line.setAttribute("d", path.join(""));
    this.#now.textContent = value === null ? "" : say(value);
    this.#picture.setAttribute("aria-label", `${this.#name}: ${value === null ? "unknown" : say(value)} now, at most ${say(top)}`);
  }
}

// Numbers of now, and counts since the start of which the growth by the second is shown.
const LEVELS = [["Connections", (s) => s.health.connections.active], ["Users", (s) => s.users], ["Memory, MiB", (s) => s.health.memory.used / 2 ** 20], ["Bytes waiting to be written", (s) => s.waiting]];
const RATES = [["Frames from clients a second", (s) => s.health.messages.received], ["Messages to the log a second", (s) => s.published], ["Deliveries a second", (s) => s.delivered], ["Connections opened a second", (s) => s.health.connections.total]];
const levels = LEVELS.map(([name, read]) => [new Chart(name), read]);
const rates = RATES.map(([name, read]) => [new Chart(name), read]);
let before; // the status before this one
byId("page").hidden = false; // all of it at once

function draw(status) {
  const { health, gateway } = status;
  state(health.status, health.status);
  byId("gateway").textContent = `${gateway}, up for ${duration(health.uptime)}, ${health.rooms} rooms`;
  byId("reasons").replaceChildren(...(health.reasons ?? []).map((reason) => make("li", {}, reason)));
  for (const [chart, read] of levels) chart.add(read(status));
  const seconds = before?.gateway === gateway ? (status.time - before.time) / 1000 : 0;
  for (const [chart, read] of rates) chart.add(seconds > 0 && seconds * 1000 < HOLE_MS ? (read(status) - read(before)) / seconds : null);
  before = status;
  rows("gateways", status.gateways, ({ id, connections }) => [id, whole.format(connections)], ({ id }) => (id === gateway ? "own" : ""));
  rows("rooms", status.rooms, ({ id, members, perMinute }) => [id, whole.format(members), say(perMinute)]);
  rows("closes", status.closes, ({ code, minute, total }) => [`${code} ${CODES[code] ?? ""}`, whole.format(minute), whole.format(total)]);
  byId("no-rooms").hidden = status.rooms.length > 0;
  byId("no-closes").hidden = status.closes.length > 0;
}

function rows(id, items, cells, kind = () => "") {
  byId(id).replaceChildren(
    ...items.map((item) => {
      const row = make("tr", { class: kind(item) });
      row.append(...cells(item).map((cell, i) => make("td", i > 0 ? { class: "number" } : {}, cell)));
      return row;
    }),
  );
}

function state(which, text) {
  const element = byId("state");
  element.dataset.state = which;
  if (element.textContent !== text) element.textContent = text;
}

function duration(seconds) {
  const parts = [[86_400, "d"], [3600, "h"], [60, "min"], [1, "s"]].flatMap(([size, unit], i, all) => {
    const n = Math.floor((i === 0 ? seconds : seconds % all[i - 1][0]) / size);
    return n > 0 ? [`${n} ${unit}`] : [];
  });
  return parts.slice(0, 2).join(" ") || "0 s";
}

async function look() {
  try {
    const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(10_000) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    draw(await answer.json());
  } catch (error) {
    before = undefined;
    for (const [chart] of [...levels, ...rates]) chart.add(null);
    state("lost", `the gateway cannot be asked (${error.message})`);
  }
}

let timer;
let round = 0; // of several that overlap, one goes on
async function again() {
  clearTimeout(timer);
  const mine = ++round;
  if (document.hidden) return; // what nobody sees costs nothing
  await look();
  if (mine === round) timer = setTimeout(again, EVERY_MS);
}
document.addEventListener("visibilitychange", again);
again();
