package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/parley-im/parley/pkg/config"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
)

func (d *deployment) registry() (registryv1.RegistryClient, error) {
	conn, err := d.dial("registry")
	if err != nil {
		return nil, err
	}
	return registryv1.NewRegistryClient(conn), nil
}

func listRooms(s *config.Set) action {
	sort := "id"
	s.String(&sort, "sort", "by what; by name, PREFIX is one of the names").OneOf("id", "name", "members")
	return func(ctx context.Context, d *deployment, arguments []string) error {
		registry, err := d.registry()
		if err != nil {
			return err
		}
		q := &registryv1.ListRoomsRequest{Limit: 1000, Prefix: strings.Join(arguments, "")}
		q.Sort = map[string]registryv1.Sort{"id": registryv1.Sort_SORT_ID, "name": registryv1.Sort_SORT_NAME, "members": registryv1.Sort_SORT_MEMBERS}[sort]
		t := d.table("ROOM", "NAME", "MEMBERS", "", "OWNER", "MADE")
		for {
			page, err := registry.ListRooms(ctx, q)
			if err != nil {
				return err
			}
			for i, r := range page.Rooms {
				members := ""
				if i < len(page.MemberCounts) {
					members = fmt.Sprint(page.MemberCounts[i])
				}
				if err := t.line(r, r.Id, r.Name, members, kind(r), r.GetOwner().GetUsername(), when(r.CreatedAt)); err != nil {
					return err
				}
			}
			if q.Cursor = page.NextCursor; q.Cursor == "" {
				return t.end()
			}
		}
	}
}

// kind says what sort of room it is.
func kind(r *registryv1.Room) string {
	words := []string{"public"}
	if r.Visibility == registryv1.Visibility_VISIBILITY_PRIVATE {
		words[0] = "private"
	}
	if r.Persistent {
		words = append(words, "persistent")
	}
	return strings.Join(words, ",")
}

func deleteRoom(*config.Set) action {
	return func(ctx context.Context, d *deployment, arguments []string) error {
		registry, err := d.registry()
		if err != nil {
			return err
		}
		answer, err := registry.DeleteRoom(ctx, &registryv1.DeleteRoomRequest{RoomId: arguments[0]})
		if err != nil {
			return fmt.Errorf("room %q: %w", arguments[0], err)
		}
		return d.tell(answer, "The room %s is gone, with its log.", arguments[0])
	}
}
