// What may be done to whom, as the registry will judge it (PROTOCOL.md, 3). Pure.
// It only decides what is offered; the server decides what is done.

const RANK = { member: 0, moderator: 1, owner: 2 };

/** The user's role in a room, as far as is known; an administrator of the deployment acts as an owner. */
export function roleIn(room, me) {
  if (room.isDirect) return "member";
  if (me?.roles?.includes("admin")) return "owner";
  return room.members.get(me?.id)?.role ?? "member";
}

export function moderates(room, me) {
  return RANK[roleIn(room, me)] >= RANK.moderator;
}

/**
 * What a user may do to another one in a room.
 * @returns {{put: boolean, mute: boolean, roles: string[]}} put: kick and ban;
 *   roles: those that may be given
 */
export function rightsOver(room, me, { id, role = "member" }) {
  const mine = RANK[roleIn(room, me)];
  const above = room.status === "joined" && id !== me.id && mine >= RANK.moderator && (mine === RANK.owner || RANK[role] < RANK.moderator);
  const roles = above && mine === RANK.owner && !room.isLobby ? Object.keys(RANK).filter((name) => name !== role) : [];
  return { put: above && !room.isLobby, mute: above, roles };
}

/** Whether a message of somebody's may be changed or taken back. */
export function mayEdit(room, message) {
  return room.status !== "out" && message.mine && !message.deleted && message.content !== undefined;
}

export function mayDelete(room, me, message) {
  return room.status !== "out" && !message.deleted && (message.mine || moderates(room, me));
}
