// The few things that every view needs from the DOM. Text goes in as text
// nodes only; nothing here, or anywhere in this application, parses HTML.

/** The element of index.html with this id. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}

/**
 * Makes an element.
 * @param {string} tag
 * @param {object} [properties] class, data (an object), on (an object of listeners),
 *   and attributes; undefined, null and false are left out
 * @param {...(Node | string)} children strings become text nodes
 */
export function make(tag, { class: names, data, on, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (names) element.className = names;
  for (const [name, value] of Object.entries(data ?? {})) if (value !== undefined) element.dataset[name] = value;
  for (const [name, listener] of Object.entries(on ?? {})) element.addEventListener(name, listener);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== ""));
  return element;
}

/** A button that does something. */
export function button(text, click, properties = {}) {
  return make("button", { type: "button", ...properties, on: { click } }, text);
}

/** Sets a text where it is another; a screen reader hears it only then. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of a list be those of the items, keeping the elements of
 * items that stayed the same (and with them focus and selection).
 * @param {Element} list
 * @param {{key: string, stamp: unknown, build: () => Element}[]} items an
 *   element is built anew when its item's stamp is another; focus stays with the item
 */
export function showItems(list, items) {
  const known = built.get(list) ?? new Map();
  const now = new Map();
  // First what is gone, so that what stays need not move.
  const keys = new Set(items.map(({ key }) => key));
  for (const [key, { element }] of known) if (!keys.has(key)) element.remove();
  let place = list.firstChild;
  for (const { key, stamp, build } of items) {
    const before = known.get(key);
    const same = before !== undefined && before.stamp === stamp;
    const element = same ? before.element : build();
    now.set(key, { stamp, element });
    if (element === place) {
      place = place.nextSibling;
      continue;
    }
    list.insertBefore(element, place);
    if (before && !same) {
      if (before.element === place) place = place.nextSibling;
      const focused = before.element.contains(document.activeElement);
      before.element.remove();
      if (focused) (element.matches("[tabindex]") ? element : element.querySelector("button"))?.focus({ preventScroll: true });
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
  built.set(list, now);
}

const built = new WeakMap(); // list → what showItems put there

/** Runs a drawing function at most once per frame, and not at all while the page is hidden. */
export function drawer(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

/** Runs something every so often while the page is seen, and when it is seen again after longer. */
export function every(ms, work) {
  let due = Date.now() + ms;
  let timer;
  const run = () => {
    due = Date.now() + ms;
    work();
  };
  const look = () => {
    clearInterval(timer);
    if (document.hidden) return;
    if (Date.now() >= due) run();
    timer = setInterval(run, ms);
  };
  document.addEventListener("visibilitychange", look);
  look();
}
