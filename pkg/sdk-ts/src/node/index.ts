/**
 * The client with a WebSocket for a Node that has none.
 *
 * @packageDocumentation
 */
import { Parley } from "../parley.js";
import { NodeWebSocket } from "./socket.js";

Parley.WebSocket = NodeWebSocket;

export * from "../index.js";
