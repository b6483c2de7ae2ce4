// One connection to a gateway that comes back by itself: the socket, signing
// in, requests and their replies, the heartbeat, and when to try again. What
// the frames say about rooms is not its business (chat.js).

import { afterClose, fullJitter } from "./backoff.js";
import { SignedOut } from "./session.js";

/** From opening a socket to auth-success; the server itself allows 10 s for signing in. */
const OPENING_MS = 15_000;

/** How long a reply may take. */
const REPLY_MS = 15_000;

/** How long a pong may take before the connection counts as dead. */
const PONG_MS = 10_000;

/** A connection that held this long starts the back-off anew. */
const STABLE_MS = 10_000;

/** Our own code for letting go of a connection to open another: not 1000, which would end the session. */
const ABANDONED = 3000;

/** Most requests that may wait for a reply. */
const MAX_PENDING = 200;

/**
 * The types that answer each request. A live message can carry any id, also
 * one that is waiting here, so an id alone does not make a reply.
 */
const REPLIES = {
  auth: ["auth-success", "auth-failed"],
  ping: ["pong"],
  "create-room": ["room-created"],
  "join-room": ["room-joined", "message-history"],
  "leave-room": ["room-left"],
  "chat-message": ["ack"],
  chat: ["ack"],
  "get-history": ["message-history"],
  "get-rooms": ["rooms-list"],
  "get-room-info": ["room-info"],
  "get-room-members": ["room-members"],
  "get-online-users": ["online-users"],
};

/** An error frame. */
export class RequestError extends Error {
  constructor({ code, message, retryAfterMs }) {
    super(message || code);
    this.name = "RequestError";
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.code === "unavailable" || this.code === "rate-limited" || this.code === "internal";
  }
}

/** The connection ended, or was not there, before the reply came. */
export class ConnectionLost extends Error {
  /** @param {boolean} sent whether the request had left, so that it may have taken effect */
  constructor(sent) {
    super("The connection was lost.");
    this.name = "ConnectionLost";
    this.sent = sent;
  }
}

/** An id that no other client of this user makes up. */
export function newId() {
  // Not randomUUID: browsers keep it from pages that came over plain http.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * States: idle (not started, or stopped), connecting (from asking for a token
 * to auth-success), ready, waiting (for the next attempt).
 */
export class Connection {
  state = "idle";
  /** While waiting: when the next attempt comes, in milliseconds since 1970. */
  retryAt = 0;
  /** limits of the last welcome. */
  limits = {};

  #url;
  #token;
  #handlers;
  #WebSocket;
  #random;

  #socket = null;
  #round = 0; // tells what belongs to the present attempt from what came late
  #pending = new Map(); // id → {type, resolve, reject, each, timer}
  #attempt = 0;
  #readySince = 0;
  #heard = 0;
  #heartbeatMs = 25_000;
  #hintMs; // of a going-away
  #usedToken;
  #refusedToken;
  #renewed = false;
  #refused = false; // an auth-failed came on this socket
  #openTimer;
  #retryTimer;
  #heartTimer;
  #probing = false;

  /**
   * @param {object} options
   * @param {string} options.url ws: or wss:
   * @param {(how: {refused?: string}) => Promise<string>} options.token throws SignedOut if only signing in helps
   * @param {object} options.handlers
   * @param {() => void} options.handlers.changed the state changed
   * @param {(success: object) => void} options.handlers.ready signed in; with the auth-success
   * @param {(frame: object) => void} options.handlers.frame everything that is no reply, in order
   * @param {(end: {reason: string, signIn: boolean}) => void} options.handlers.stopped gave up
   * @param {typeof WebSocket} [options.WebSocket]
   * @param {() => number} [options.random]
   */
  constructor({ url, token, handlers, WebSocket = globalThis.WebSocket, random = Math.random }) {
    this.#url = url;
    this.#token = token;
    this.#handlers = handlers;
    this.#WebSocket = WebSocket;
    this.#random = random;
  }

  start() {
    if (this.state !== "idle") return;
    this.#attempt = 0;
    this.#renewed = false;
    this.#refusedToken = undefined;
    this.#open();
  }

  /** Ends the session with a close 1000; start may follow. */
  stop() {
    this.#leaveSocket(1000);
    this.#become("idle");
  }

  /** Ends the wait for the next attempt: the user asks for it, or the network is back. */
  retryNow() {
    if (this.state === "waiting") this.#open();
  }

  /** Finds out at once whether the connection still lives, as after a sleep. */
  check() {
    if (this.state === "ready") this.#probe(PONG_MS / 2);
  }

  /**
   * Sends a request.
   * @param {string} type
   * @param {object} fields
   * @param {object} [how]
   * @param {string} [how.id]
   * @param {(frame: object) => boolean} [how.each] called with each reply as it
   *   comes, before any later frame is looked at; true if more replies follow
   * @param {number} [how.timeoutMs] per reply
   * @returns {Promise<object>} the last reply
   * @throws {RequestError | ConnectionLost}
   */
  request(type, fields = {}, { id = newId(), each = () => false, timeoutMs = REPLY_MS } = {}) {
    return new Promise((resolve, reject) => {
      if (this.#pending.size >= MAX_PENDING) {
        reject(new RequestError({ code: "rate-limited", message: "Too many requests are waiting for a reply." }));
        return;
      }
      if (!this.#write({ type, ...fields, id })) {
        reject(new ConnectionLost(false));
        return;
      }
      const expire = () => {
        this.#pending.delete(id);
        reject(new RequestError({ code: "unavailable", message: "The server did not answer in time." }));
      };
      const pending = { type, resolve, reject, each, expire, timeoutMs, timer: setTimeout(expire, timeoutMs) };
      this.#pending.set(id, pending);
    });
  }

  /** Sends what has no reply, if there is a connection. */
  send(type, fields = {}) {
    return this.state === "ready" && this.#write({ type, ...fields });
  }

  /** Puts a renewed token in the place of the present one. */
  async reauthenticate() {
    if (this.state !== "ready") return;
    const round = this.#round;
    const token = await this.#token({});
    if (round !== this.#round || token === this.#usedToken) return;
    this.#usedToken = token;
    await this.request("auth", { token });
  }

  // ---- Opening --------------------------------------------------------------

  async #open() {
    clearTimeout(this.#retryTimer);
    const round = ++this.#round;
    this.#become("connecting");
    let token;
    try {
      token = await this.#token({ refused: this.#refusedToken });
    } catch (error) {
      if (round !== this.#round) return;
      if (error instanceof SignedOut) this.#giveUp({ reason: error.message, signIn: true });
      else this.#wait(Math.max(error.retryAfterMs ?? 0, fullJitter(this.#attempt, this.#random)));
      return;
    }
    if (round !== this.#round) return;
    this.#usedToken = token;
    this.#hintMs = undefined;
    this.#readySince = 0;
    this.#refused = false;

    const socket = new this.#WebSocket(this.#url, ["parley.v1.json"]);
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#closed(1006), OPENING_MS);
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#received(event.data);
    };
    socket.onclose = (event) => {
      if (socket === this.#socket) this.#closed(event.code);
    };
  }

  #signIn() {
    const round = this.#round;
    this.request("auth", { token: this.#usedToken }).then(
      () => {},
      (error) => {
        if (round !== this.#round || error instanceof ConnectionLost) return;
        // Refused: close 1008 follows and says what to do. Out of reach: try again.
        if (error.temporary) this.#closed(1011);
      },
    );
  }

  #signedIn(success) {
    clearTimeout(this.#openTimer);
    this.#readySince = Date.now();
    this.#renewed = false;
    this.#refusedToken = undefined;
    this.#heartTimer = setInterval(() => this.#beat(), 5000);
    this.#become("ready");
    this.#handlers.ready(success);
  }

  // ---- Frames ---------------------------------------------------------------

  #write(frame) {
    // 1 is OPEN in every implementation of WebSocket.
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(frame));
    return true;
  }

  #received(text) {
    this.#heard = Date.now();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // Not a frame; there is nobody to tell.
    }
    if (frame !== null && typeof frame === "object") this.#route(frame);
  }

  #route(frame) {
    switch (frame.type) {
      case "welcome":
        this.limits = frame.limits ?? {};
        if (frame.heartbeatIntervalMs > 0) this.#heartbeatMs = frame.heartbeatIntervalMs;
        this.#signIn();
        return;
      case "going-away":
        this.#hintMs = frame.reconnectInMs;
        break;
      case "message-batch":
        for (const message of frame.messages ?? []) this.#route(message);
        return;
    }
    if (!this.#answer(frame)) this.#handlers.frame(frame);
  }

  /** Hands a reply to its request; false if the frame is not one. */
  #answer(frame) {
    const pending = this.#pending.get(frame.id);
    if (!pending || (frame.type !== "error" && !REPLIES[pending.type]?.includes(frame.type))) return false;
    clearTimeout(pending.timer);
    if (frame.type === "error" || frame.type === "auth-failed") {
      this.#pending.delete(frame.id);
      if (frame.type === "auth-failed") this.#refused = true;
      pending.reject(new RequestError(frame));
    } else if (pending.each(frame)) {
      pending.timer = setTimeout(pending.expire, pending.timeoutMs);
    } else {
      this.#pending.delete(frame.id);
      pending.resolve(frame);
      // Here and not in a then: frames that came with this one must find the
      // connection ready.
      if (frame.type === "auth-success" && this.state === "connecting") this.#signedIn(frame);
    }
    return true;
  }

  // ---- Heartbeat ------------------------------------------------------------

  // A page sees no WebSocket pings, so it sends its own when it has heard
  // nothing for as long as the server's would have taken.
  #beat() {
    if (Date.now() - this.#heard > this.#heartbeatMs) this.#probe(PONG_MS);
  }

  async #probe(timeoutMs) {
    if (this.#probing) return;
    this.#probing = true;
    const round = this.#round;
    const since = Date.now();
    try {
      await this.request("ping", {}, { timeoutMs });
    } catch {
      // Anything heard meanwhile is as good as a pong.
      if (round === this.#round && this.state === "ready" && this.#heard < since) this.#closed(1006);
    } finally {
      this.#probing = false;
    }
  }

  // ---- Closing --------------------------------------------------------------

  #closed(code) {
    const now = Date.now();
    const signedIn = this.#readySince > 0;
    if (signedIn && now - this.#readySince >= STABLE_MS) this.#attempt = 0;
    this.#leaveSocket(ABANDONED);
    const next = afterClose(code, {
      attempt: this.#attempt,
      signedIn: signedIn && !this.#refused,
      renewed: this.#renewed,
      hintMs: this.#hintMs,
      random: this.#random,
    });
    if (next.action !== "retry") {
      this.#giveUp({ reason: next.reason, signIn: next.action === "sign-in" });
      return;
    }
    if (next.renew) {
      this.#refusedToken = this.#usedToken;
      this.#renewed = true;
    }
    this.#wait(next.delayMs);
  }

  #wait(delayMs) {
    this.#attempt++;
    this.retryAt = Date.now() + delayMs;
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    this.#become("waiting");
  }

  #giveUp(end) {
    this.#become("idle");
    this.#handlers.stopped(end);
  }

  /** Lets go of the socket without waiting for it: on a dead network its close event can take a minute. */
  #leaveSocket(code) {
    this.#round++;
    clearTimeout(this.#openTimer);
    clearTimeout(this.#retryTimer);
    clearInterval(this.#heartTimer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close(code);
    }
    const lost = [...this.#pending.values()];
    this.#pending.clear();
    for (const { timer, reject } of lost) {
      clearTimeout(timer);
      reject(new ConnectionLost(true));
    }
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.#handlers.changed();
  }
}
