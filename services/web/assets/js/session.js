// Who is signed in: the HTTP API beside the socket (PROTOCOL.md, 7) and where
// the tokens are kept. It knows nothing of sockets, rooms or views.

const KEY = "parley.session";

/** A token is renewed when it has less than this left. */
const RENEW_BEFORE_MS = 60_000;

/** No request waits longer than this. */
const TIMEOUT_MS = 15_000;

/** An answer of the HTTP API that is not a success. status is 0 if there was none; message is the code where the server said nothing. */
export class ApiError extends Error {
  constructor(status, code, message, retryAfterMs) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** There is no valid sign-in any more; only the user can change that. */
export class SignedOut extends Error {
  name = "SignedOut";
  code = "unauthenticated";
}

export class Session {
  #api;
  #fetch;
  #tab;
  #device;
  #locks;
  #now;

  /**
   * @param {object} options
   * @param {string} options.api address the paths are relative to, e.g. "https://host/api/"
   * @param {typeof fetch} options.fetch
   * @param {Storage} options.tab forgets with the tab (sessionStorage)
   * @param {Storage} options.device outlives the browser (localStorage), for "keep me signed in"
   * @param {LockManager} [options.locks] keeps two tabs from spending one refresh token
   * @param {() => number} [options.now]
   */
  constructor({ api, fetch, tab, device, locks, now = Date.now }) {
    this.#api = api;
    this.#fetch = fetch;
    this.#tab = tab;
    this.#device = device;
    this.#locks = locks;
    this.#now = now;
  }

  /** The signed-in user, or null. */
  get user() {
    return this.#read()?.user ?? null;
  }

  get present() {
    return this.#read() !== null;
  }

  /** Whether the sign-in outlives the tab. */
  get keeps() {
    return this.#device.getItem(KEY) !== null;
  }

  async signIn(username, password, { keep = false } = {}) {
    this.#write(await this.#post("auth", { username, password }), keep);
  }

  async register(username, password, { keep = false } = {}) {
    const answer = await this.#post("register", { username, password });
    if (answer.token) this.#write(answer, keep);
    else await this.signIn(username, password, { keep });
  }

  /** Ends the session here at once, and on the server if it can be reached. */
  async signOut() {
    const kept = this.#read();
    this.forget();
    if (!kept) return;
    try {
      await this.#post("logout", { refreshToken: kept.refreshToken }, kept.token);
    } catch {
      // The tokens are gone from here; on the server they run out by themselves.
    }
  }

  /** The user's sign-ins on all devices: {id, userAgent, address, usedAt, current}. */
  async devices() {
    return (await this.#ask("sessions", { token: await this.token() })).sessions;
  }

  /** Ends one of them, or, with "all", every one with this. */
  async end(sessionId) {
    const body = sessionId === "all" ? { all: true } : { sessionId };
    await this.#ask("logout", { body, token: await this.token() });
  }

  forget() {
    this.#tab.removeItem(KEY);
    this.#device.removeItem(KEY);
  }

  /**
   * A token to authenticate with, renewed where needed.
   * @param {object} [how]
   * @param {string} [how.refused] a token that was not accepted: not this one again
   * @throws {SignedOut} when only signing in can help
   * @throws {ApiError} when trying later can
   */
  async token({ refused } = {}) {
    const fresh = () => {
      const kept = this.#read();
      if (!kept) throw new SignedOut();
      const lasts = !kept.expiresAt || kept.expiresAt - this.#now() > RENEW_BEFORE_MS;
      return lasts && kept.token !== refused ? kept.token : null;
    };
    const token = fresh();
    if (token) return token;
    // Another tab may have renewed it while this one waited for the lock.
    const renew = async () => fresh() ?? (await this.#renew());
    return this.#locks ? this.#locks.request(KEY, renew) : renew();
  }

  async #renew() {
    const kept = this.#read();
    if (!kept?.refreshToken) {
      this.forget();
      throw new SignedOut();
    }
    let answer;
    try {
      answer = await this.#post("refresh", { refreshToken: kept.refreshToken });
    } catch (error) {
      if (error.status === 400 || error.status === 401 || error.status === 403) {
        this.forget();
        throw new SignedOut();
      }
      throw error;
    }
    // Signed out, here or in another tab, while the answer was under way.
    if (this.#read()?.refreshToken !== kept.refreshToken) throw new SignedOut();
    this.#write({ ...kept, ...answer }, this.#device.getItem(KEY) !== null);
    return answer.token;
  }

  #post(path, body, token) {
    return this.#ask(path, { body, token });
  }

  async #ask(path, { body, token }) {
    const headers = body ? { "Content-Type": "application/json" } : {};
    if (token) headers.Authorization = `Bearer ${token}`;
    let response;
    try {
      response = await this.#fetch(this.#api + path, {
        method: body ? "POST" : "GET",
        headers,
        ...(body && { body: JSON.stringify(body) }),
        credentials: "omit",
        cache: "no-store",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
    } catch {
      throw new ApiError(0, "unreachable", "unreachable");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer ?? {};
    throw refusal(response, answer);
  }

  #read() {
    try {
      const kept = JSON.parse(this.#tab.getItem(KEY) ?? this.#device.getItem(KEY));
      return kept && typeof kept.token === "string" ? kept : null;
    } catch {
      return null;
    }
  }

  #write({ token, refreshToken, expiresIn, expiresAt, user }, keep) {
    if (typeof token !== "string") throw new ApiError(200, "internal", "internal");
    if (expiresIn > 0) expiresAt = this.#now() + expiresIn * 1000;
    this.forget();
    (keep ? this.#device : this.#tab).setItem(KEY, JSON.stringify({ token, refreshToken, expiresAt, user }));
  }
}

/** What an answer without a code means, by its status. */
const CODES = { 400: "invalid-argument", 401: "unauthenticated", 403: "forbidden", 404: "not-found", 409: "already-exists", 413: "too-large", 429: "rate-limited" };

function refusal({ status, headers }, answer) {
  const error = answer?.error && typeof answer.error === "object" ? answer.error : answer;
  const text = error?.message ?? (typeof answer?.error === "string" ? answer.error : undefined);
  const code = error?.code ?? CODES[status] ?? "unavailable";
  const seconds = Number(headers.get("Retry-After"));
  return new ApiError(status, code, String(text ?? code), seconds > 0 ? seconds * 1000 : undefined);
}
