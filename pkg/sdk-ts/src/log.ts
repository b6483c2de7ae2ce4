// Where one room's log has got to here: what comes next, what was seen
// already, what is missing. Pure: no sockets, timers or listeners.

import type { Entry, Position, ServerFrame } from "./frame.js";

/** A page of the log is expected: from where it was asked for, and where the log stood then. */
interface Past {
  from: Position | undefined;
  recovered: boolean;
  seq: number;
}

/** Why something is missing: `retention` has dropped it, or the log is another one (`epoch`). */
export interface Gap {
  reason: "retention" | "epoch";
  /** The oldest seq that the log still holds. */
  oldestSeq: number;
}

/** What a page amounts to. */
export interface Caught {
  from: Position | undefined;
  recovered: boolean;
}

export class Log {
  /** Everything up to here was seen; undefined before the first page. */
  position: Position | undefined;
  #past: Past | undefined;

  constructor(position?: Position) {
    this.position = position;
  }

  /** Begins the pages that follow a room-joined or a resume, which were asked for `from`. */
  begin(answer: { recovered: boolean; seq: number; epoch: string; oldestSeq?: number }, from: Position | undefined): Gap | undefined {
    const { recovered, seq, epoch, oldestSeq = 0 } = answer;
    this.#past = { from, recovered, seq };
    const another = this.position?.epoch !== undefined && this.position.epoch !== epoch;
    if (!this.position || another) this.position = { seq: 0, epoch };
    else this.position = { ...this.position, epoch };
    if (!from || recovered) return undefined;
    return { reason: another ? "epoch" : "retention", oldestSeq };
  }

  /** Whether pages are expected, so that nothing live is due yet. */
  get behind(): boolean {
    return this.#past !== undefined;
  }

  /** After the last page: what it was good for. */
  page(hasMore: boolean): Caught | undefined {
    const past = this.#past;
    if (!past || (past.recovered && hasMore)) return undefined;
    this.#past = undefined;
    this.#advance(past.seq);
    return { from: past.from, recovered: past.recovered };
  }

  /** The connection is gone, and with it the pages that were under way. */
  interrupt(): void {
    this.#past = undefined;
  }

  /** Whether something is missing in front of a live entry. */
  hole({ prev = 0 }: { prev?: number }): boolean {
    return prev > (this.position?.seq ?? 0);
  }

  /** Takes an entry; false if it was seen before, or is none. */
  take(frame: ServerFrame): frame is Entry {
    const { seq } = frame as Entry;
    if (!(seq > (this.position?.seq ?? 0))) return false;
    this.#advance(seq);
    return true;
  }

  #advance(seq: number): void {
    if (this.position && seq > this.position.seq) this.position = { ...this.position, seq };
  }
}
