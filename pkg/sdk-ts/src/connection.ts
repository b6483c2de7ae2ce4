// One connection to a gateway that comes back by itself: the socket, signing
// in or resuming, requests and their replies, the heartbeat, and when to try
// again. What the frames say of rooms is not its business (room.ts).

import { afterClose, fullJitter } from "./backoff.js";
import { decode } from "./decode.js";
import { ParleyError } from "./error.js";
import type { Account, Limits, Position, Requests, ResumedRoom, ServerFrame } from "./frame.js";
import { newId } from "./id.js";
import { Pending } from "./pending.js";
import { watch } from "./wake.js";

/** From opening a socket to being signed in; the server itself allows 10 s for it. */
const OPENING_MS = 15_000;

/** A signed-in connection that held this long starts the back-off anew. */
const STABLE_MS = 10_000;

/** How often, while somebody looks, the connection is thought of. */
const TICK_MS = 5000;

/** A tick that comes this late has slept. */
const ASLEEP_MS = 5000;

/** How long a pong may take before the connection counts as dead; shorter after a sleep. */
const PONG_MS = 10_000;
const PONG_AWAKE_MS = 4000;

/** A page that nobody looks at tries again no sooner than this, on average. */
const HIDDEN_RETRY_MS = 30_000;

/** How long a page has to be hidden before it lets go of its connection, where it does. */
const HIDDEN_PAUSE_MS = 30_000;

/** Our own code for letting go of a connection to open another: not 1000, which would end the session. */
const ABANDONED = 3000;

const OPEN = 1; // in every implementation of WebSocket

/** The part of the WebSocket interface that is used. */
export interface Socket {
  readonly readyState: number;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

export interface ConnectionOptions {
  url: string;
  getToken: ((why: { refused?: string }) => string | null | Promise<string | null>) | undefined;
  whenHidden: "stay" | "pause";
  WebSocket: new (url: string, protocols: string[]) => Socket;
  random: () => number;
}

/** Whom a connection tells. */
export interface Owner {
  /** `state` is another. */
  changed(): void;
  /** Signed in. With `rooms` by a resume, that has brought back these; else all rooms are to be joined. */
  ready(user: Account, rooms?: Record<string, ResumedRoom>): void;
  /** Everything that is no reply, in order. */
  frame(frame: ServerFrame): void;
  /** Where each room stands that a resume shall bring back. */
  places(): Record<string, Position>;
  /** There will be no further attempt. */
  ended(error: ParleyError): void;
}

/** idle (not started, or ended), connecting (to the sign-in), ready, waiting (for the next attempt). */
export type State = "idle" | "connecting" | "ready" | "waiting";

export class Connection {
  state: State = "idle";
  /** While waiting: when the next attempt comes, in milliseconds since 1970; Infinity while the page is hidden and paused. */
  retryAt = 0;
  limits: Partial<Limits> = {};

  #options: ConnectionOptions;
  #owner: Owner;
  #socket: Socket | undefined;
  #round = 0; // tells what belongs to the present socket from what came late
  #pending = new Pending();
  #attempt = 0;
  #readySince = 0;
  #heard = 0;
  #heartbeatMs = 25_000;
  #hintMs: number | undefined;
  #token: string | undefined; // that was sent last
  #refused: string | undefined; // that was not accepted, or is over
  #renewed = false;
  #failed = false; // auth-failed came on this socket
  #resumeToken: string | undefined;
  #openTimer: Timer;
  #retryTimer: Timer;
  #heartTimer: Timer;
  #pauseTimer: Timer;
  #probing = false;
  #hidden = false;
  #unwatch: (() => void) | undefined;

  constructor(options: ConnectionOptions, owner: Owner) {
    this.#options = options;
    this.#owner = owner;
  }

  start(): void {
    if (this.state !== "idle") return;
    this.#attempt = 0;
    this.#renewed = false;
    this.#refused = undefined;
    this.#become("connecting");
    this.#unwatch = watch({ woke: () => this.#woke(), hidden: (hidden) => this.#sight(hidden) });
    void this.#open();
  }

  /** Ends the session with a close 1000; start may follow. */
  stop(): void {
    this.#resumeToken = undefined;
    this.#leave(1000);
    this.#rest();
  }

  /** Ends the wait for the next attempt. */
  retryNow(): void {
    if (this.state === "waiting") void this.#open();
  }

  /**
   * Sends a request, in the order of the calls.
   * @throws ParleyError, connection-lost also where there is none
   */
  request<Type extends keyof Requests>(
    type: Type,
    fields: Requests[Type][0],
    { id = newId(), timeoutMs, each }: { id?: string; timeoutMs?: number; each?: (frame: ServerFrame) => boolean } = {},
  ): Promise<Requests[Type][1]> {
    const text = JSON.stringify({ type, id, ...fields });
    // A frame that is too large would end the connection (1009).
    const most = this.limits.maxFrameBytes;
    if (most && text.length * 3 > most && new TextEncoder().encode(text).length > most) {
      return Promise.reject(new ParleyError("too-large", `the request is larger than ${most} bytes`));
    }
    if (this.#socket?.readyState !== OPEN) return Promise.reject(new ParleyError("connection-lost", "there is no connection"));
    const reply = this.#pending.add(id, timeoutMs, each);
    this.#socket.send(text);
    return reply as Promise<never>;
  }

  /** Sends what has no reply, if there is a connection. */
  send(type: string, fields: object): void {
    if (this.state === "ready" && this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify({ type, ...fields }));
  }

  // ---- Opening --------------------------------------------------------------

  async #open(): Promise<void> {
    clearTimeout(this.#retryTimer);
    const round = ++this.#round;
    this.#become("connecting");
    // A resume needs none, and may come to nothing only within the hour.
    if (!this.#resumeToken && !(await this.#bringToken(round))) return;
    this.#hintMs = undefined;
    this.#readySince = 0;
    this.#failed = false;
    this.#heard = Date.now();
    const socket = new this.#options.WebSocket(this.#options.url, ["parley.v1.json"]);
    this.#socket = socket;
    this.#openTimer = setTimeout(() => this.#closed(1006), OPENING_MS);
    socket.onerror = () => {}; // a close follows
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#received(data);
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#closed(code);
    };
  }

  /** Asks the application for a token; false if there is nothing to go on with. */
  async #bringToken(round: number): Promise<boolean> {
    const { getToken, random } = this.#options;
    if (!getToken) return true; // a guest
    try {
      const token = await getToken(this.#refused === undefined ? {} : { refused: this.#refused });
      if (round !== this.#round) return false;
      if (token === null) {
        this.#end("unauthenticated", "nobody is signed in");
        return false;
      }
      this.#token = token;
      return true;
    } catch (error) {
      if (round === this.#round) {
        this.#leave(ABANDONED);
        this.#wait(Math.max((error as ParleyError)?.retryAfterMs ?? 0, fullJitter(this.#attempt, random)));
      }
      return false;
    }
  }

  async #signIn(): Promise<void> {
    const round = this.#round;
    try {
      if (this.#resumeToken) {
        try {
          await this.request("resume", { resumeToken: this.#resumeToken, rooms: this.#owner.places() });
          return;
        } catch (error) {
          if (round !== this.#round || (error as ParleyError).code !== "resume-failed") throw error;
          this.#resumeToken = undefined;
          // Who has tried to sign in does not become a guest on the same connection.
          if (!this.#options.getToken) throw new ParleyError("unavailable");
          if (!(await this.#bringToken(round))) return;
        }
      }
      if (this.#token !== undefined) await this.request("auth", { token: this.#token });
      // Any request makes a guest of who has not signed in; the welcome as one comes before the answer.
      else await this.request("get-room-info", { roomId: "lobby" });
    } catch (error) {
      const { code, temporary } = error as ParleyError;
      if (round !== this.#round || code === "connection-lost") return;
      // Of a refused token the close says what comes of it.
      if (temporary) this.#closed(1011);
      else if (this.#token === undefined && !this.#failed) this.#end(code, "guests are not let in");
    }
  }

  #signedIn(user: Account, resumeToken: string, rooms?: Record<string, ResumedRoom>): void {
    clearTimeout(this.#openTimer);
    this.#resumeToken = resumeToken || undefined;
    if (this.state === "ready") return; // a newer token
    this.#readySince = Date.now();
    this.#renewed = false;
    this.#refused = undefined;
    this.#become("ready");
    this.#beat();
    this.#owner.ready(user, rooms);
  }

  async #renew(): Promise<void> {
    const round = this.#round;
    const { getToken } = this.#options;
    const old = this.#token;
    try {
      const token = await getToken?.(old === undefined ? {} : { refused: old });
      if (round !== this.#round || !token || token === old) return;
      this.#token = token;
      await this.request("auth", { token });
    } catch {
      // The token may be good still; when it is not, 4203 says so.
    }
  }

  // ---- Frames ---------------------------------------------------------------

  #received(data: unknown): void {
    this.#heard = Date.now();
    const frame = decode(data);
    if (frame) this.#route(frame);
  }

  #route(frame: ServerFrame): void {
    switch (frame.type) {
      case "welcome":
        this.limits = frame.limits ?? {};
        if (frame.heartbeatIntervalMs > 0) this.#heartbeatMs = frame.heartbeatIntervalMs;
        void this.#signIn();
        return;
      case "message-batch":
        for (const entry of frame.messages) this.#route(entry);
        return;
      case "auth-success":
        this.#signedIn(frame.user, frame.resumeToken);
        this.#pending.answer(frame);
        return;
      case "resumed":
        this.#pending.answer(frame);
        this.#signedIn(frame.user, frame.resumeToken, frame.rooms);
        return;
      case "auth-failed":
        this.#failed = true;
        break;
      case "going-away":
        this.#hintMs = frame.reconnectInMs;
        break;
      case "token-expiring":
        void this.#renew();
        break;
    }
    if (!this.#pending.answer(frame)) this.#owner.frame(frame);
  }

  // ---- Heartbeat, sleep and sight -------------------------------------------

  // A page sees no WebSocket pings, so it sends its own when it has heard
  // nothing for as long as the server's would have taken. While nobody looks
  // there is no timer: the server's pings are answered by the browser, and it
  // tells when the connection ends.
  #beat(): void {
    clearTimeout(this.#heartTimer);
    if (this.state !== "ready" || this.#hidden) return;
    const due = Date.now() + TICK_MS;
    this.#heartTimer = setTimeout(() => {
      const now = Date.now();
      if (now - due > ASLEEP_MS) void this.#probe(PONG_AWAKE_MS);
      else if (now - this.#heard > this.#heartbeatMs) void this.#probe(PONG_MS);
      this.#beat();
    }, TICK_MS);
  }

  async #probe(timeoutMs: number): Promise<void> {
    if (this.#probing) return;
    this.#probing = true;
    const round = this.#round;
    const since = Date.now();
    try {
      await this.request("ping", {}, { timeoutMs });
    } catch {
      // Anything heard meanwhile is as good as a pong.
      if (round === this.#round && this.state === "ready" && this.#heard <= since) this.#closed(1006);
    } finally {
      this.#probing = false;
    }
  }

  #woke(): void {
    if (this.#hidden) return;
    if (this.state === "ready") void this.#probe(PONG_AWAKE_MS);
    else if (globalThis.navigator?.onLine !== false) this.retryNow();
  }

  #sight(hidden: boolean): void {
    this.#hidden = hidden;
    clearTimeout(this.#pauseTimer);
    this.#beat();
    if (!hidden) this.#woke();
    else if (this.#options.whenHidden === "pause") this.#pauseTimer = setTimeout(() => this.#pause(), HIDDEN_PAUSE_MS);
  }

  #pause(): void {
    if (this.state === "idle") return;
    this.#leave(ABANDONED);
    this.retryAt = Infinity;
    this.#become("waiting");
  }

  // ---- Closing --------------------------------------------------------------

  #closed(code: number): void {
    const signedIn = this.#readySince > 0;
    if (signedIn && Date.now() - this.#readySince >= STABLE_MS) this.#attempt = 0;
    this.#leave(ABANDONED);
    const { random, getToken } = this.#options;
    const next = afterClose(code, {
      attempt: this.#attempt,
      signedIn: signedIn && !this.#failed,
      renewed: this.#renewed || (!getToken && this.#failed),
      hintMs: this.#hintMs,
      random,
    });
    if ("end" in next) return this.#end(next.end, next.message);
    if (next.renew) {
      this.#refused = this.#token;
      this.#renewed = true;
      this.#resumeToken = undefined;
    }
    this.#wait(next.delayMs);
  }

  #wait(delayMs: number): void {
    this.#attempt++;
    if (this.#hidden) {
      if (this.#options.whenHidden === "pause") return this.#pause();
      delayMs = Math.max(delayMs, HIDDEN_RETRY_MS * (0.5 + this.#options.random()));
    }
    this.retryAt = Date.now() + delayMs;
    this.#retryTimer = setTimeout(() => void this.#open(), delayMs);
    this.#become("waiting");
  }

  #end(code: string, message: string): void {
    this.#resumeToken = undefined;
    this.#leave(ABANDONED);
    this.#rest();
    this.#owner.ended(new ParleyError(code, message));
  }

  #rest(): void {
    clearTimeout(this.#pauseTimer);
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#hidden = false;
    this.#become("idle");
  }

  /** Lets go of the socket without waiting for it: on a dead network its close can take a minute. */
  #leave(code: number): void {
    this.#round++;
    for (const timer of [this.#openTimer, this.#retryTimer, this.#heartTimer]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close(code);
    }
    this.#pending.fail();
  }

  #become(state: State): void {
    if (this.state === state) return;
    this.state = state;
    this.#owner.changed();
  }
}

type Timer = ReturnType<typeof setTimeout> | undefined;