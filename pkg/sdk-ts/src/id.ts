/** An id that no other client of this user makes up. */
export function newId(): string {
  // Not randomUUID: browsers keep it from pages that came over plain http.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
