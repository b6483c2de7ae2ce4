package session

import (
	"context"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/gateway/internal/hook"
)

// command is how one type of request is carried out.
type command struct {
	// anonymous requests need no sign-in.
	anonymous bool
	// signsIn: whoever sends it does not mean to be a guest.
	signsIn bool
	// cost is how many requests it counts as; 0 is one (costs).
	cost int
	// guests may send it (guest.go).
	guests bool
	// slow requests ask another process and run in the lane.
	slow bool
	// publishes: the request stores what members get, which a hook may be asked
	// about; it is slow then.
	publishes bool
	// later: where run succeeds, the answer comes after it, by whoever it has left
	// the request to, who also ends its trace.
	later bool
	// history: the answer brings messages, maybe many.
	history bool
	// room names the room that a request is about, "" for none.
	room func(*wirev1.ClientFrame) string
	// check looks at the arguments alone, before any right; nil has none.
	check func(*Session, *wirev1.ClientFrame) error
	// run does it, and sends what is to be answered when it succeeds. An error
	// is answered by whoever called it.
	run func(context.Context, *Session, *wirev1.ClientFrame) error
}

// slow says whether a request runs in the lane.
func (h *Hub) slow(c *command) bool {
	return c.slow || c.publishes && h.opts.Hook.Asks(hook.Publish)
}

// commands are the requests that are served, by their type on the wire. To add
// one: a file with its check and run, and a line here.
var commands map[string]*command

func init() { // not a literal: the commands refer to functions that read it
	commands = map[string]*command{
		"auth":             authCommand,
		"ping":             pingCommand,
		"resume":           resumeCommand,
		"configure":        configureCommand,
		"create-room":      createRoomCommand,
		"join-room":        joinRoomCommand,
		"leave-room":       leaveRoomCommand,
		"chat-message":     chatMessageCommand,
		"room-message":     roomMessageCommand,
		"chat":             chatCommand,
		"signal":           signalCommand,
		"edit-message":     editMessageCommand,
		"delete-message":   deleteMessageCommand,
		"mark-read":        markReadCommand,
		"get-history":      getHistoryCommand,
		"get-rooms":        getRoomsCommand,
		"get-room-info":    getRoomInfoCommand,
		"get-room-members": getRoomMembersCommand,
		"get-online-users": getOnlineUsersCommand,
		"get-presence":     getPresenceCommand,

		"get-room-sanctions": getRoomSanctionsCommand,
		"admin-broadcast":    adminBroadcastCommand,
		"set-status":         setStatusCommand,
		"kick":               kickCommand,
		"ban":                banCommand,
		"unban":              unbanCommand,
		"mute":               muteCommand,
		"unmute":             unmuteCommand,
		"set-role":           setRoleCommand,
		"invite":             inviteCommand,
		"uninvite":           uninviteCommand,
		"open-direct":        openDirectCommand,
		"update-room":        updateRoomCommand,
		"delete-room":        deleteRoomCommand,
	}
	for kind, cost := range costs {
		commands[kind].cost = cost
	}
	for _, kind := range guestRequests {
		commands[kind].guests = true
	}
}

// costs are what requests count as, against the limit of a connection, that do
// more work than to publish a message, where Options.WeighRequests is set; all
// others count as one. PROTOCOL.md, section 6, tells them.
var costs = map[string]int{
	// They ask services, for pages of lists or for a place in a room.
	"join-room": 2, "get-rooms": 2, "get-room-members": 2, "get-room-sanctions": 2, "get-online-users": 2, "get-presence": 2,
	// It reads the log.
	"get-history": 4,
	// They read the log of many rooms, write or erase records that stay, or speak to
	// everybody.
	"resume": 5, "create-room": 5, "open-direct": 5, "delete-room": 5, "admin-broadcast": 5,
}

// cost gives how many requests one counts as; what is none is one, too.
func (h *Hub) cost(c *command) int {
	if c == nil || !h.opts.WeighRequests {
		return 1
	}
	return max(c.cost, 1)
}
