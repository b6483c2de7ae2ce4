// Events as an async iterator.

import { ParleyError } from "./error.js";

/** Most events that wait for a reader. */
const MAX_WAITING = 10_000;

export class Stream<Item> implements AsyncIterableIterator<Item> {
  #items: Item[] = [];
  #reader: { resolve: (result: IteratorResult<Item>) => void; reject: (error: unknown) => void } | undefined;
  #ended = false;
  #error: unknown;
  #stop: () => void;

  /** @param start begins to push, and gives what stops it */
  constructor(start: (stream: Stream<Item>) => () => void) {
    this.#stop = start(this);
  }

  push(item: Item): void {
    if (this.#ended) return;
    if (this.#reader) {
      this.#reader.resolve({ value: item, done: false });
      this.#reader = undefined;
    } else if (this.#items.length < MAX_WAITING) {
      this.#items.push(item);
    } else {
      this.end(new ParleyError("too-slow", `more than ${MAX_WAITING} messages wait for who iterates`));
    }
  }

  /** What waits is still read. */
  end(error?: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#stop();
    if (!this.#reader) return;
    if (error) this.#reader.reject(error);
    else this.#reader.resolve({ value: undefined, done: true });
  }

  next(): Promise<IteratorResult<Item>> {
    if (this.#items.length > 0) return Promise.resolve({ value: this.#items.shift() as Item, done: false });
    if (this.#ended) {
      const error = this.#error;
      this.#error = undefined;
      return error ? Promise.reject(error) : Promise.resolve({ value: undefined, done: true });
    }
    return new Promise((resolve, reject) => (this.#reader = { resolve, reject }));
  }

  return(): Promise<IteratorResult<Item>> {
    this.#items = [];
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
