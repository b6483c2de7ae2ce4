// Writes TypeScript that is wrong where a golden frame has not the type that
// the client says: `node types.js <path of frame.js>`.

import { readdirSync, readFileSync } from "node:fs";

const frames = new URL("../../../proto/testdata/frames/", import.meta.url);
const read = (folder) =>
  readdirSync(new URL(folder, frames))
    .filter((name) => name.endsWith(".json"))
    .map((name) => JSON.parse(readFileSync(new URL(folder + name, frames), "utf8")).json);

console.log(`import type { Requests, ServerFrame } from ${JSON.stringify(process.argv[2])};`);
console.log("export const server: ServerFrame[] = [");
for (const frame of read("server/")) console.log(`${JSON.stringify(frame)},`);
console.log("];");
let last = 0;
// A trace belongs to a request as its id does, and is no field of it.
for (const { type, id, traceparent, ...fields } of read("client/")) {
  if (type === "signal") continue; // nothing answers it, so it is no request
  console.log(`export const client${++last}: Requests[${JSON.stringify(type)}][0] = ${JSON.stringify(fields)};`);
}
