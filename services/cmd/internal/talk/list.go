package talk

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"text/tabwriter"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/config"
	parley "github.com/parley-im/parley/pkg/sdk-go"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

const aboutRooms = `Lists the rooms that you may see.

  parley rooms
  parley rooms team- --sort members --json`

const aboutUsers = `Lists who is online; with ROOM, who is in it.

  parley users
  parley users general --json`

// Rooms is parley rooms.
func Rooms(ctx context.Context, args []string) error {
	var a account
	var asJSON bool
	by := parley.RoomsBy{Sort: "id"}
	operands, run, err := load("rooms", aboutRooms, "[PREFIX]", args, &a, func(s *config.Set) {
		s.Section("The list")
		s.String(&by.Sort, "sort", "by what; by name, PREFIX is one of the names").OneOf("id", "name", "members")
		s.Bool(&asJSON, "json", "one JSON object a line")
	})
	if !run {
		return err
	}
	by.Prefix = strings.Join(operands, "")
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return a.outcome(write(os.Stdout, asJSON, []string{"ROOM", "NAME", "MEMBERS"}, client.Rooms(ctx, by), func(r *wirev1.RoomSummary) []string {
		return []string{r.Id, r.Name, fmt.Sprint(r.MemberCount)}
	}))
}

// Users is parley users.
func Users(ctx context.Context, args []string) error {
	var a account
	var asJSON bool
	operands, run, err := load("users", aboutUsers, "[ROOM]", args, &a, func(s *config.Set) {
		s.Section("The list")
		s.Bool(&asJSON, "json", "one JSON object a line")
	})
	if !run {
		return err
	}
	client, err := a.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	if len(operands) == 0 {
		return a.outcome(write(os.Stdout, asJSON, []string{"USER", "ID", "STATUS", "", "SINCE"}, client.Online(ctx), func(u *wirev1.OnlineUser) []string {
			return []string{u.Username, u.Id, u.GetStatus(), u.GetText(), u.AuthenticatedAt.AsTime().Local().Format("2006-01-02 15:04:05")}
		}))
	}
	members := client.Room(operands[0]).Members(ctx)
	return a.outcome(write(os.Stdout, asJSON, []string{"USER", "ID", "ROLE", "STATUS", ""}, members, func(m *wirev1.Member) []string {
		return []string{m.Username, m.Id, m.Role, m.GetStatus(), m.GetText()}
	}))
}

// write writes a list as a table, or as JSON, one a line.
func write[T proto.Message](out io.Writer, asJSON bool, head []string, list iter.Seq2[T, error], columns func(T) []string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if !asJSON {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(head, "\t"), "\t"))
	}
	for one, err := range list {
		if err != nil {
			return err
		}
		if asJSON {
			text, err := protojson.Marshal(one)
			if err != nil {
				return fmt.Errorf("writing JSON: %w", err)
			}
			fmt.Fprintf(w, "%s\n", text)
			continue
		}
		cells := columns(one)
		for i, c := range cells {
			cells[i] = shell.Printable(c)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return w.Flush()
}
