// What a browser tells a page of sleep, sight and network. In Node there is
// nothing to hear, and nothing happens.

export interface Wake {
  /** The page is seen again, or was asleep, or the network is another: find out how things stand. */
  woke(): void;
  hidden(hidden: boolean): void;
}

/** Listens until the function that it returns is called. */
export function watch(wake: Wake): () => void {
  const off: (() => void)[] = [];
  const on = (target: EventTarget | undefined, types: string, listener: () => void) => {
    if (!target?.addEventListener) return;
    for (const type of types.split(" ")) {
      target.addEventListener(type, listener);
      off.push(() => target.removeEventListener(type, listener));
    }
  };
  const page = globalThis.document;
  on(page, "visibilitychange", () => wake.hidden(page.hidden));
  // Page Lifecycle: a frozen page goes on; and one from the back-forward cache.
  on(page, "resume", wake.woke);
  on(globalThis.window, "online offline pageshow", wake.woke);
  on((globalThis.navigator as { connection?: EventTarget } | undefined)?.connection, "change", wake.woke);
  if (page?.hidden) wake.hidden(true);
  return () => off.forEach((stop) => stop());
}
