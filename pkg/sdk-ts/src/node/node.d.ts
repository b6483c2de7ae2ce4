// The little of Node that socket.ts uses, so that nothing has to be installed
// to check it.

declare module "node:crypto" {
  export interface Bytes extends Uint8Array {
    toString(encoding?: string): string;
    subarray(start?: number, end?: number): Bytes;
    readUInt16BE(at: number): number;
    readBigUInt64BE(at: number): bigint;
    writeUInt16BE(value: number, at: number): void;
    writeBigUInt64BE(value: bigint, at: number): void;
  }
  interface Hash {
    update(text: string): Hash;
    digest(encoding: string): string;
  }
  export function createHash(algorithm: string): Hash;
  export function randomBytes(n: number): Bytes;
}

declare module "node:http" {
  import type { Bytes } from "node:crypto";
  export interface Tcp {
    setNoDelay(on: boolean): void;
    on(event: "error" | "close", listener: () => void): void;
    on(event: "data", listener: (bytes: Bytes) => void): void;
    write(bytes: Bytes): void;
    end(): void;
    destroy(): void;
  }
  interface Answer {
    headers: Record<string, string | undefined>;
    resume(): void;
  }
  interface Request {
    on(event: "upgrade", listener: (answer: Answer, tcp: Tcp, head: Bytes) => void): void;
    on(event: "response", listener: (answer: Answer) => void): void;
    on(event: "error", listener: () => void): void;
    end(): void;
    destroy(): void;
  }
  export function request(url: string, options: { headers: Record<string, string> }): Request;
}

declare module "node:https" {
  export { request } from "node:http";
}

declare const Buffer: {
  alloc(n: number): import("node:crypto").Bytes;
  from(from: string | number[] | Uint8Array): import("node:crypto").Bytes;
  concat(parts: Uint8Array[]): import("node:crypto").Bytes;
};
