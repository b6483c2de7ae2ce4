package parley

import (
	"context"
	"iter"

	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// RoomsBy says which rooms are listed, and how.
type RoomsBy struct {
	// Prefix is one of their ids, or of their names where they are sorted by these.
	Prefix string
	// Sort is id (or ""), name or members.
	Sort string
}

// Rooms lists the rooms that there are, page by page. An error is the last.
func (c *Client) Rooms(ctx context.Context, by RoomsBy) iter.Seq2[*wirev1.RoomSummary, error] {
	return pages(ctx, c, func(cursor *string) *wirev1.ClientFrame {
		q := &wirev1.GetRooms{Cursor: cursor, Prefix: given(by.Prefix), Sort: given(by.Sort)}
		return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRooms{GetRooms: q}}
	}, func(f *wirev1.ServerFrame) ([]*wirev1.RoomSummary, string) {
		return f.GetRoomsList().GetRooms(), f.GetRoomsList().GetNextCursor()
	})
}

// Online lists who is online, page by page. An error is the last.
func (c *Client) Online(ctx context.Context) iter.Seq2[*wirev1.OnlineUser, error] {
	return pages(ctx, c, func(cursor *string) *wirev1.ClientFrame {
		return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetOnlineUsers{GetOnlineUsers: &wirev1.GetOnlineUsers{Cursor: cursor}}}
	}, func(f *wirev1.ServerFrame) ([]*wirev1.OnlineUser, string) {
		return f.GetOnlineUsers().GetUsers(), f.GetOnlineUsers().GetNextCursor()
	})
}

// Members lists who is in the room now, page by page. An error is the last.
func (r *Room) Members(ctx context.Context) iter.Seq2[*wirev1.Member, error] {
	return pages(ctx, r.c, func(cursor *string) *wirev1.ClientFrame {
		q := &wirev1.GetRoomMembers{RoomId: r.id, Cursor: cursor}
		return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomMembers{GetRoomMembers: q}}
	}, func(f *wirev1.ServerFrame) ([]*wirev1.Member, string) {
		return f.GetRoomMembers().GetMembers(), f.GetRoomMembers().GetNextCursor()
	})
}

// Sanctions lists who is banned or muted, page by page, for moderators. An error
// is the last.
func (r *Room) Sanctions(ctx context.Context) iter.Seq2[*wirev1.SanctionedUser, error] {
	return pages(ctx, r.c, func(cursor *string) *wirev1.ClientFrame {
		q := &wirev1.GetRoomSanctions{RoomId: r.id, Cursor: cursor}
		return &wirev1.ClientFrame{Request: &wirev1.ClientFrame_GetRoomSanctions{GetRoomSanctions: q}}
	}, func(f *wirev1.ServerFrame) ([]*wirev1.SanctionedUser, string) {
		return f.GetRoomSanctions().GetUsers(), f.GetRoomSanctions().GetNextCursor()
	})
}

// pages asks for one page after the other.
func pages[T any](ctx context.Context, c *Client, ask func(cursor *string) *wirev1.ClientFrame, read func(*wirev1.ServerFrame) ([]*T, string)) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		var cursor *string
		for {
			f, err := c.Ask(ctx, ask(cursor))
			if err != nil {
				yield(nil, err)
				return
			}
			list, next := read(f)
			for _, one := range list {
				if !yield(one, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			cursor = &next
		}
	}
}

func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
