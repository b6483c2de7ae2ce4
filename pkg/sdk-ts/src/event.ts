// Typed listeners. A listener that throws does not keep others from being
// called, nor a frame from being taken.

export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls a listener with every event of a type, until the function that it returns is called. */
  on<Type extends keyof Events>(type: Type, listener: (event: Events[Type]) => void): () => void {
    let of = this.#listeners.get(type);
    if (!of) this.#listeners.set(type, (of = new Set()));
    of.add(listener);
    return () => void of.delete(listener);
  }

  /** @internal */
  emit<Type extends keyof Events>(type: Type, event: Events[Type]): void {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        (listener as (event: Events[Type]) => void)(event);
      } catch (error) {
        // As with an event of the browser: reported, and not our caller's.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
