/**
 * What a request or a message comes to that does not succeed. `code` is one of
 * the gateway's (PROTOCOL.md, section 6) or one of ours:
 *
 * - `connection-lost`: the connection ended before the answer; it may have taken effect
 * - `timeout`: no answer within 15 s
 * - `closed`: the client was closed, or will not connect again by itself
 * - `left`: the room was left meanwhile
 * - `outbox-full`: too many messages of the room wait already
 * - `unknown-outcome`: whether the message was stored can not be found out any more
 * - `too-slow`: an iterator was read too slowly to keep what came
 */
export class ParleyError extends Error {
  override name = "ParleyError";

  constructor(
    readonly code: string,
    message: string = code,
    /** When trying again may help, in milliseconds. */
    readonly retryAfterMs?: number,
    /** The field of the request that is at fault. */
    readonly field?: string,
  ) {
    super(message);
  }

  /** Whether the same request may succeed later. */
  get temporary(): boolean {
    return this.code === "unavailable" || this.code === "rate-limited" || this.code === "internal" || this.code === "timeout";
  }
}
