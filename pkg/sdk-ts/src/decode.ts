// Text from the socket to frames.

import type { ServerFrame } from "./frame.js";

/** Reads a frame; undefined for what is none. A `null` is a field that is not there, but for `data`. */
export function decode(text: unknown): ServerFrame | undefined {
  try {
    const frame = JSON.parse(text as string);
    return typeof frame?.type === "string" ? tidy(frame) : undefined;
  } catch {
    return undefined; // nobody to tell
  }
}

function tidy(frame: Record<string, unknown>): ServerFrame {
  for (const name in frame) if (frame[name] === null && name !== "data") delete frame[name];
  if (Array.isArray(frame.messages)) frame.messages.forEach((entry) => entry && tidy(entry));
  return frame as unknown as ServerFrame;
}
