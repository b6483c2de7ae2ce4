// A WebSocket for a Node that has none (before 22): RFC 6455 for text, as much
// as a client needs. Without extensions; a proxy, too, is not its business.

import { createHash, randomBytes } from "node:crypto";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

import type { Socket } from "../connection.js";

/** Largest message that is taken; a page of 1000 full messages has 16 MiB. */
const MAX_MESSAGE = 64 << 20;

/** How long the other side may take to answer a close. */
const CLOSE_MS = 2000;

const enum Op {
  Continuation = 0,
  Text = 1,
  Close = 8,
  Ping = 9,
  Pong = 10,
}

export class NodeWebSocket implements Socket {
  readyState = 0;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;

  #tcp: Tcp | undefined;
  #request: { destroy(): void };
  #unread: Bytes = Buffer.alloc(0);
  #parts: Bytes[] = []; // of a message in fragments
  #code = 1006;

  constructor(url: string, protocols: string[]) {
    const { protocol } = new URL(url);
    const key = randomBytes(16).toString("base64");
    const request = (protocol === "wss:" ? httpsRequest : httpRequest)(url.replace("ws", "http"), {
      headers: {
        Connection: "Upgrade",
        Upgrade: "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": key,
        "Sec-WebSocket-Protocol": protocols.join(", "),
      },
    });
    this.#request = request;
    request.on("upgrade", (answer, tcp, head) => {
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      if (answer.headers["sec-websocket-accept"] !== accept || this.readyState !== 0) {
        tcp.destroy();
        return this.#end();
      }
      this.#tcp = tcp;
      this.readyState = 1;
      tcp.setNoDelay(true);
      tcp.on("error", () => tcp.destroy());
      tcp.on("close", () => this.#end());
      tcp.on("data", (bytes) => this.#read(bytes));
      if (head.length > 0) this.#read(head);
    });
    request.on("response", (answer) => {
      answer.resume();
      request.destroy();
      this.#end();
    });
    request.on("error", () => this.#end());
    request.end();
  }

  send(text: string): void {
    if (this.readyState === 1) this.#write(Op.Text, Buffer.from(text));
  }

  close(code = 1000): void {
    if (this.readyState >= 2) return;
    if (this.readyState === 0) {
      this.#request.destroy();
      return this.#end();
    }
    this.readyState = 2;
    this.#code = code;
    this.#write(Op.Close, Buffer.from([code >> 8, code & 255]));
    const timer = setTimeout(() => this.#tcp?.destroy(), CLOSE_MS);
    (timer as unknown as { unref(): void }).unref(); // it keeps no process
  }

  #end(): void {
    if (this.readyState === 3) return;
    this.readyState = 3;
    queueMicrotask(() => this.onclose?.({ code: this.#code }));
  }

  #read(bytes: Bytes): void {
    this.#unread = this.#unread.length > 0 ? Buffer.concat([this.#unread, bytes]) : bytes;
    for (let taken; (taken = this.#frame(this.#unread)) > 0; ) this.#unread = this.#unread.subarray(taken);
  }

  /** Takes a frame; how many bytes it had, 0 while it is not whole. */
  #frame(bytes: Bytes): number {
    if (bytes.length < 2) return 0;
    const last = ((bytes[0] as number) & 0x80) !== 0;
    const op = (bytes[0] as number) & 15;
    let length = (bytes[1] as number) & 127;
    let start = 2;
    if (length >= 126) {
      start = length === 126 ? 4 : 10;
      if (bytes.length < start) return 0;
      length = length === 126 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    }
    const collected = this.#parts.reduce((sum, part) => sum + part.length, 0);
    if (length + collected > MAX_MESSAGE) {
      this.close(1009);
      return 0;
    }
    if (bytes.length < start + length) return 0;
    const payload = bytes.subarray(start, start + length);
    switch (op) {
      case Op.Continuation:
      case Op.Text:
        this.#parts.push(payload);
        if (last) {
          const text = Buffer.concat(this.#parts).toString();
          this.#parts = [];
          if (this.readyState === 1) this.onmessage?.({ data: text });
        }
        break;
      case Op.Ping:
        this.#write(Op.Pong, payload);
        break;
      case Op.Close:
        if (this.readyState === 1) {
          this.#code = payload.length >= 2 ? payload.readUInt16BE(0) : 1005;
          this.readyState = 2;
          this.#write(Op.Close, payload.subarray(0, 2));
        }
        this.#tcp?.end();
        break;
    }
    return start + length;
  }

  #write(op: Op, payload: Bytes): void {
    const mask = randomBytes(4);
    const { length } = payload;
    const head = Buffer.alloc(length < 126 ? 2 : length < 1 << 16 ? 4 : 10);
    head[0] = 0x80 | op;
    head[1] = 0x80 | (length < 126 ? length : length < 1 << 16 ? 126 : 127);
    if (head.length === 4) head.writeUInt16BE(length, 2);
    else if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
    const masked = Buffer.from(payload);
    for (let i = 0; i < length; i++) masked[i] = (masked[i] as number) ^ (mask[i & 3] as number);
    this.#tcp?.write(Buffer.concat([head, mask, masked]));
  }
}

type Bytes = import("node:crypto").Bytes;
type Tcp = import("node:http").Tcp;
