// What the page keeps in the browser beside the sign-in: a user's rooms, and
// how the page looks.

const SETTING = "parley.setting.";
const ROOMS = "parley.rooms.";

export class Kept {
  #device;
  #tab;

  /**
   * @param {Storage} device outlives the browser
   * @param {Storage} tab forgets with the tab
   */
  constructor(device, tab) {
    this.#device = device;
    this.#tab = tab;
  }

  setting(name) {
    return this.#device.getItem(SETTING + name);
  }

  set(name, value) {
    this.#device.setItem(SETTING + name, value);
  }

  /** The rooms that a user was in, on this tab or else on this device: {id, name, peer}. */
  rooms(user) {
    try {
      const rooms = JSON.parse(this.#tab.getItem(ROOMS + user.id) ?? this.#device.getItem(ROOMS + user.id));
      return Array.isArray(rooms) ? rooms.filter((room) => typeof room?.id === "string") : [];
    } catch {
      return [];
    }
  }

  /** @param {boolean} forLong whether the user stays signed in on this device */
  setRooms(user, rooms, forLong) {
    const text = JSON.stringify(rooms.map(({ id, name, peer }) => ({ id, name, peer })));
    this.#tab.setItem(ROOMS + user.id, text);
    if (forLong) this.#device.setItem(ROOMS + user.id, text);
  }
}

/** A browser's storage, or a replacement for the life of the page where it is forbidden. */
export function storage(name) {
  try {
    const real = window[name];
    real.getItem("parley");
    return real;
  } catch {
    const kept = new Map();
    return {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
  }
}
