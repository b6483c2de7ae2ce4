// A list that is read page by page, out of an async iterator of the client's.

export class Pages {
  items = [];
  /** Whether there are items behind these. */
  more = true;

  #iterator;
  #ahead; // one that was read to know whether there are more

  /** @param {AsyncIterator<object>} iterator */
  constructor(iterator) {
    this.#iterator = iterator;
  }

  /** Reads so many items more, or to the end. */
  async read(count) {
    for (let missing = count; this.more && missing > 0; missing--) {
      const next = this.#ahead ?? (await this.#iterator.next());
      this.#ahead = undefined;
      if (next.done) this.more = false;
      else this.items.push(next.value);
    }
    if (!this.more) return this;
    this.#ahead = await this.#iterator.next();
    this.more = !this.#ahead.done;
    return this;
  }
}
