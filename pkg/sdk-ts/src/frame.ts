// The frames of parley.v1.json as types; proto/wire/v1/frames.proto says what
// each field means, and proto/PROTOCOL.md when each frame is sent. Times are
// strings in RFC 3339.

export interface User {
  id: string;
  username: string;
}

/** A user with what only the user itself is told. */
export interface Account extends User {
  roles: string[];
}

/** A place in a room's log. */
export interface Position {
  seq: number;
  epoch?: string | undefined;
}

export type Word = "everyone" | "members" | "moderators" | "owner";

export interface RoomPolicy {
  post?: Word;
  read?: Word;
  signal?: Word;
  invite?: Word;
  guests?: "none" | "read" | "write";
  rate?: number;
  maxMembers?: number;
  retention?: number;
}

export interface RoomSettings {
  name?: string;
  topic?: string;
  visibility?: "public" | "private";
  persistent?: boolean;
  attributes?: Record<string, unknown>;
  policy?: RoomPolicy;
}

export interface Limits {
  maxFrameBytes: number;
  maxContentBytes: number;
  maxDataBytes: number;
  rateLimit: number;
  rateBurst: number;
  maxHistory: number;
  leaseMs: number;
  authTimeoutMs: number;
}

export interface Batch {
  maxMessages: number;
  intervalMs: number;
}

export type Status = "online" | "away" | "busy";

export interface Member extends User {
  role: "owner" | "moderator" | "member";
  status?: Status;
  text?: string;
}

export interface OnlineUser extends User {
  authenticatedAt: string;
  status?: Status;
  text?: string;
}

export interface RoomSummary {
  id: string;
  name: string;
  memberCount: number;
}

export interface Sanction {
  until?: string;
  reason?: string;
}

export interface SanctionedUser extends User {
  ban?: Sanction;
  mute?: Sanction;
}

interface Stored {
  roomId: string;
  seq: number;
  prev?: number;
  user: User;
  timestamp: string;
}

export interface MessageFrame extends Stored {
  type: "chat-message" | "room-message";
  id?: string;
  content?: string;
  data?: unknown;
}

export interface ChatFrame {
  type: "chat";
  id?: string;
  user: string;
  message: string;
  seq: number;
  prev?: number;
  timestamp: string;
}

export interface EditedFrame extends Stored {
  type: "message-edited";
  id?: string;
  target: number;
  content?: string;
}

export interface DeletedFrame extends Stored {
  type: "message-deleted";
  id?: string;
  target: number;
}

/** An entry of a room's log. */
export type Entry = MessageFrame | ChatFrame | EditedFrame | DeletedFrame;

export interface RoomInfo {
  roomId: string;
  exists: boolean;
  memberCount: number;
  name?: string;
  topic?: string;
  visibility?: "public" | "private";
  persistent?: boolean;
  epoch?: string;
  createdAt?: string;
  owner?: User;
  attributes?: Record<string, unknown>;
  policy?: RoomPolicy;
  revision?: number;
}

export interface RoomUpdated {
  roomId: string;
  name: string;
  topic?: string;
  visibility: "public" | "private";
  persistent: boolean;
  attributes?: Record<string, unknown>;
  policy?: RoomPolicy;
  revision?: number;
}

export interface RoomJoined {
  roomId: string;
  memberCount: number;
  seq: number;
  epoch: string;
  recovered: boolean;
  oldestSeq?: number;
  readSeq?: number;
  unread?: number;
}

/** How somebody is, or when they were here last, where that is known. */
export interface SeenUser {
  id: string;
  online: boolean;
  username?: string;
  status?: Status;
  text?: string;
  lastSeen?: string;
}

export interface ResumedRoom {
  recovered: boolean;
  seq: number;
  epoch: string;
  memberCount: number;
  error?: string;
  oldestSeq?: number;
}

export interface AckFrame {
  roomId?: string;
  seq?: number;
  timestamp?: string;
  duplicate: boolean;
  durability?: "memory" | "file" | "replicated";
  synced?: boolean;
}

export interface ErrorFrame {
  code: string;
  message: string;
  retryAfterMs?: number;
  field?: string;
}

export interface HistoryFrame {
  roomId: string;
  messages: Entry[];
  hasMore: boolean;
}

export interface RosterFrame {
  roomId: string;
  user: User;
  memberCount: number;
  timestamp: string;
}

/** What a gateway sends, by type. */
export interface ServerFrames {
  welcome: {
    message: string;
    connectionId: string;
    timestamp: string;
    serverTime: number;
    heartbeatIntervalMs: number;
    protocol: string;
    limits: Limits;
  };
  "auth-success": { user: Account; sessionId: string; resumeToken: string; expiresAt?: string };
  "auth-failed": { code: string; message: string };
  pong: { timestamp: string };
  "room-created": { roomId: string; success: boolean };
  "room-joined": RoomJoined;
  "room-left": { roomId: string };
  ack: AckFrame;
  signal: { roomId: string; event: string; data?: unknown; user: User };
  "message-history": HistoryFrame;
  "rooms-list": { rooms: RoomSummary[]; nextCursor: string };
  "room-info": RoomInfo;
  "room-members": { roomId: string; members: Member[]; nextCursor: string };
  "room-sanctions": { roomId: string; users: SanctionedUser[]; nextCursor: string };
  "online-users": { users: OnlineUser[]; nextCursor: string };
  "status-set": { status: Status; text?: string };
  presence: { user: User; status: Status; text?: string };
  "presence-list": { users: SeenUser[] };
  "room-updated": RoomUpdated;
  "room-deleted": { roomId: string };
  "direct-opened": { roomId: string };
  "admin-message": { content: string; from: User; timestamp: string };
  configured: { batch?: Batch; compression: string };
  resumed: { user: Account; sessionId: string; resumeToken: string; rooms: Record<string, ResumedRoom>; status?: Status; text?: string };
  "user-joined": RosterFrame;
  "user-left": RosterFrame;
  "room-stats": { roomId: string; memberCount: number };
  "message-batch": { roomId: string; messages: Entry[]; timestamp: string };
  compressed: { data: string };
  kicked: { roomId: string; reason?: string };
  invited: { roomId: string; user?: User };
  "going-away": { reconnectInMs: number };
  "token-expiring": { expiresAt: string };
  error: ErrorFrame;
}

export type ServerFrame = { [Type in keyof ServerFrames]: { type: Type; id?: string } & ServerFrames[Type] }[keyof ServerFrames] | Entry;

interface Page {
  limit?: number | undefined;
  cursor?: string | undefined;
}

interface Standing {
  roomId: string;
  userId: string;
  reason?: string | undefined;
  until?: string | undefined;
}

/** What a client asks for, by type: the fields, and what the answer has. */
export interface Requests {
  auth: [{ token: string }, ServerFrames["auth-success"]];
  ping: [{}, ServerFrames["pong"]];
  "create-room": [{ roomId: string } & RoomSettings, ServerFrames["room-created"]];
  "join-room": [{ roomId: string; after?: number | undefined; epoch?: string | undefined; history?: number | undefined }, RoomJoined];
  "leave-room": [{ roomId: string }, ServerFrames["room-left"]];
  "chat-message": [{ roomId: string; content?: string | undefined; data?: unknown }, AckFrame];
  "room-message": [{ roomId: string; content?: string | undefined; data?: unknown }, AckFrame];
  chat: [{ message: string }, AckFrame];
  "get-history": [{ roomId: string; limit?: number | undefined; before?: number | undefined; after?: number | undefined }, HistoryFrame];
  "get-rooms": [Page & { prefix?: string | undefined; sort?: "id" | "name" | "members" | undefined }, ServerFrames["rooms-list"]];
  "get-room-info": [{ roomId: string }, RoomInfo];
  "get-room-members": [Page & { roomId: string }, ServerFrames["room-members"]];
  "get-room-sanctions": [Page & { roomId: string }, ServerFrames["room-sanctions"]];
  "get-online-users": [Page & { roomId?: string | undefined }, ServerFrames["online-users"]];
  "get-presence": [{ userIds: string[] }, ServerFrames["presence-list"]];
  "set-status": [{ status: Status; text?: string | undefined }, ServerFrames["status-set"]];
  "edit-message": [{ roomId: string; target: number; content?: string | undefined }, AckFrame];
  "delete-message": [{ roomId: string; target: number }, AckFrame];
  "mark-read": [{ roomId: string; seq: number }, AckFrame];
  kick: [Standing, AckFrame];
  ban: [Standing, AckFrame];
  unban: [Standing, AckFrame];
  mute: [Standing, AckFrame];
  unmute: [Standing, AckFrame];
  "set-role": [{ roomId: string; userId: string; role: Member["role"] }, AckFrame];
  "update-room": [{ roomId: string; revision?: number } & RoomSettings, AckFrame];
  "delete-room": [{ roomId: string }, AckFrame];
  "open-direct": [{ userId: string }, ServerFrames["direct-opened"]];
  invite: [{ roomId: string; userId: string }, AckFrame];
  uninvite: [{ roomId: string; userId: string }, AckFrame];
  "admin-broadcast": [{ content: string }, AckFrame];
  configure: [{ batch?: Partial<Batch>; compression?: "gzip" | "none" }, ServerFrames["configured"]];
  resume: [{ resumeToken: string; rooms?: Record<string, Position> }, ServerFrames["resumed"]];
}
