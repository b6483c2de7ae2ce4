// What Node 18 lacks of what the client takes from browsers and later Nodes.

import { webcrypto } from "node:crypto";

globalThis.crypto ??= webcrypto;
