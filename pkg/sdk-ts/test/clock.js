// A clock that only the test moves. Node's own mock of timers changed its form
// between 18 and 20, and leaves Date alone in the former.

/**
 * Replaces timers and Date until the test ends.
 * @param {import("node:test").TestContext} t
 * @returns {(ms: number) => void} moves the clock, firing what is due in order
 */
export function fakeClock(t, now) {
  const timers = new Map(); // by number; those set first come first
  let last = 0;
  const set = (every) => (fire, ms = 0) => {
    const wait = Math.max(1, ms);
    timers.set(++last, { fire, at: now + wait, every: every ? wait : 0 });
    return last;
  };
  const clear = (number) => void timers.delete(number);

  const fakes = {
    setTimeout: set(false),
    setInterval: set(true),
    clearTimeout: clear,
    clearInterval: clear,
    Date: class extends Date {
      constructor(...args) {
        super(...(args.length > 0 ? args : [now]));
      }
      static now() {
        return now;
      }
    },
  };
  const real = Object.fromEntries(Object.keys(fakes).map((name) => [name, globalThis[name]]));
  Object.assign(globalThis, fakes);
  t.after(() => Object.assign(globalThis, real));

  return (ms) => {
    const end = now + ms;
    for (;;) {
      const [number, next] = [...timers].reduce((a, b) => (b[1].at < a[1].at ? b : a), [0, { at: Infinity }]);
      if (next.at > end) break;
      now = next.at;
      if (next.every > 0) next.at += next.every;
      else timers.delete(number);
      next.fire();
    }
    now = end;
  };
}
