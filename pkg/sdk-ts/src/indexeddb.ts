// An outbox that outlives the page, in the browser's IndexedDB. What a page
// wrote is its own while it lives: another one of the same origin takes it over
// when the Web Lock of its owner is free, so that two tabs never send the same
// message at the same time.

import { newId } from "./id.js";
import type { OutboxStore, Waiting } from "./outbox.js";

interface Kept extends Waiting {
  owner: string;
}

/** @param name of the database; one for each server that the origin's pages talk to */
export function indexedDBStore(name = "parley"): OutboxStore {
  const owner = newId();
  let end = new AbortController();
  let opened: Promise<IDBDatabase> | undefined;

  const database = () =>
    (opened ??= new Promise((resolve, reject) => {
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore("outbox", { keyPath: "id" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }));

  /** Runs in a transaction of its own, to its end. */
  async function change<Result>(work: (store: IDBObjectStore, done: (result: Result) => void) => void): Promise<Result> {
    const transaction = (await database()).transaction("outbox", "readwrite");
    return new Promise((resolve, reject) => {
      let result: Result;
      transaction.oncomplete = () => resolve(result);
      transaction.onabort = () => reject(transaction.error);
      work(transaction.objectStore("outbox"), (value) => (result = value));
    });
  }

  /** Takes over what belongs to an owner that is gone. */
  const takeOver = (from: (owner: string) => boolean) =>
    change<Waiting[]>((store, done) => {
      const all = store.getAll();
      all.onsuccess = () => {
        const mine = (all.result as Kept[]).filter((kept) => from(kept.owner));
        for (const kept of mine) store.put({ ...kept, owner });
        done(mine.map(({ owner, ...waiting }) => waiting));
      };
    });

  const owners = () =>
    change<Set<string>>((store, done) => {
      const all = store.getAll();
      all.onsuccess = () => done(new Set((all.result as Kept[]).map((kept) => kept.owner)));
    });

  const lock = (of: string) => `${name} outbox ${of}`;

  return {
    async open(found) {
      end = new AbortController();
      const { signal } = end;
      const locks = globalThis.navigator?.locks;
      // Without Web Locks (a page over plain http) nobody knows who else is there.
      if (!locks) return found(await takeOver((other) => other !== owner));
      await new Promise<void>((held) => {
        locks
          .request(lock(owner), { signal }, () => {
            held();
            return new Promise<void>((free) => signal.addEventListener("abort", () => free()));
          })
          .catch(() => held());
      });
      for (const other of await owners()) {
        if (other === owner) continue;
        const take = async () => found(await takeOver((one) => one === other));
        const free = await locks.request(lock(other), { ifAvailable: true }, async (got) => got !== null && (await take(), true));
        // A page that lives, or one that is just being left.
        if (!free) locks.request(lock(other), { signal }, take).catch(() => {});
      }
    },
    put: (waiting) => change((store) => void store.put({ ...waiting, owner })),
    delete: (id) => change((store) => void store.delete(id)),
    close() {
      end.abort();
      opened?.then((open) => open.close()).catch(() => {});
      opened = undefined;
    },
  };
}
