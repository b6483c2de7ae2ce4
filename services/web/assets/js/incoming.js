// What each frame that the server sends unasked means for the state of the
// chat. Pure but for what it is handed.

/** Users whose status is kept; who is plainly online needs none. */
const MAX_STATUSES = 1000;

/**
 * @param {object} frame
 * @param {import("./rooms.js").Room | undefined} room the open room it is about
 * @param {object} to
 * @param {{id: string}} to.me
 * @param {Map<string, {status: string, text: string}>} to.statuses
 * @param {(room: object) => void} to.live takes the frame as the next of the room's log
 * @param {(room: object, reason: string) => void} to.out the session is not in the room any more
 * @param {(type: string, detail?: object) => void} to.tell an event of Chat
 */
export function incoming(frame, room, to) {
  switch (frame.type) {
    case "chat":
    case "chat-message":
    case "room-message":
    case "message-edited":
    case "message-deleted":
      if (room) to.live(room);
      return;
    case "signal":
      if (!room || frame.event !== "typing" || frame.user.id === to.me.id) return;
      room.typed(frame.user);
      to.tell("people", { roomId: room.id });
      return;
    case "user-joined":
    case "user-left":
      if (!room) return;
      room.roster(frame);
      to.tell("room", { roomId: room.id });
      to.tell("people", { roomId: room.id, roster: true });
      return;
    case "room-stats":
      if (room) room.memberCount = frame.memberCount;
      to.tell("people", { roomId: frame.roomId });
      return;
    case "presence":
      status(to.statuses, frame);
      to.tell("people", {});
      return;
    case "room-updated":
      if (!room) return;
      room.name = frame.name || room.id;
      to.tell("rooms");
      return;
    case "room-deleted":
      if (room) put(room, to, "deleted", "This room was deleted.");
      return;
    case "kicked":
      if (room) put(room, to, "kicked", frame.reason ? `You were removed: ${frame.reason}` : "You were removed.");
      return;
    case "admin-message":
      to.tell("notice", { kind: "admin", text: `${frame.from?.username ?? "Administrator"}: ${frame.content}` });
      return;
    case "going-away":
      to.tell("notice", { kind: "info", text: "The server is restarting; this page will reconnect by itself." });
      return;
    case "error":
      // A typing signal that was refused is not worth a word.
      if (frame.id !== "typing") to.tell("notice", { kind: "error", text: frame.message || frame.code });
      return;
    default:
      // Types that this page does not know are none of its business (PROTOCOL.md).
      return;
  }
}

function put(room, to, kind, reason) {
  room.notice({ kind, text: reason });
  to.out(room, reason);
}

function status(statuses, { user, status, text = "" }) {
  statuses.delete(user.id);
  if (status !== "online" || text) statuses.set(user.id, { status, text });
  if (statuses.size > MAX_STATUSES) statuses.delete(statuses.keys().next().value);
}
