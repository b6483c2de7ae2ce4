// A list that is read page by page, out of an async iterator of the client's.

export class Pages {
  items = [];
  /** Whether there are items behind these. */
  more = true;

  #iterator;
  #ahead; // one that was read to know whether there are more
  #reading; // the read that has not ended yet

  /** @param {AsyncIterator<object>} iterator */
  constructor(iterator) {
    this.#iterator = iterator;
  }

  /** Reads so many items more, or to the end. Who asks while that goes on, by a
   *  second click, gets the same: two at once would take each other's items. */
  read(count) {
    this.#reading ??= this.#read(count).finally(() => (this.#reading = undefined));
    return this.#reading;
  }

  async #read(count) {
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
