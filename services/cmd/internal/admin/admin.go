package admin

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/services/cmd/internal/program"
	"github.com/parley-im/parley/services/cmd/internal/shell"
)

// command is one of the commands.
type command struct {
	// name is what is typed, arguments how its arguments are written: each is
	// needed but those in brackets, and one with "…" may be repeated.
	name, arguments string
	about           string
	// example is one, behind "parley admin".
	example string
	// make registers the flags that the command has beside those of all, and
	// gives what it does.
	make func(*config.Set) action
}

// action carries a command out with the arguments that were typed.
type action func(ctx context.Context, d *deployment, arguments []string) error

var commands = []command{
	{"create-user", "NAME", "Make an account; with --admin, of an operator of the chat.",
		"create-user alice --admin", createUser},
	{"users", "[PREFIX]", "List accounts.",
		"users al --json", listUsers},
	{"set-roles", "USER ROLE…", "Give an account these roles in place of those it has.",
		"set-roles alice user moderator", setRoles},
	{"set-password", "USER", "Give an account another password, and end all its sessions.",
		"set-password alice --password-file new-password", setPassword},
	{"disable", "USER", "Keep a user out: no sign-in, and open connections close at once.",
		"disable mallory", disableUser},
	{"enable", "USER", "Let a disabled user sign in again.",
		"enable mallory", enableUser},
	{"sessions", "USER", "List where a user is signed in.",
		"sessions alice", listSessions},
	{"revoke", "[USER]", "End all sessions of a user, or with --session one.",
		"revoke alice", revoke},
	{"invite", "", "Make a code with which people may register.",
		"invite --uses 5 --life 48h", createInvite},
	{"invites", "", "List the codes that are good.",
		"invites", listInvites},
	{"revoke-invite", "ID", "End a code.",
		"revoke-invite i_7Qk", revokeInvite},
	{"rotate-keys", "", "Sign tokens with a new key.",
		"rotate-keys --lead 2m", rotateKeys},
	{"rooms", "[PREFIX]", "List rooms, private ones, too.",
		"rooms team- --sort members", listRooms},
	{"delete-room", "ROOM", "End a room, with its log.",
		"delete-room old-room", deleteRoom},
	{"drain", "URL", "Have a gateway, by its admin port, send its clients elsewhere and end.",
		"drain http://gateway-1:9090", drain},
	{"broadcast", "TEXT", "Say something to every connection.",
		`broadcast "back in five minutes" --from ops`, broadcast},
}

const about = `Operates a running deployment.

A parley serve on this machine is reached by the directory that it keeps its data in, ./data unless --data-dir
says another; other deployments by the addresses of their services, with an operator's token:

  parley admin create-user alice --admin
  PARLEY_AUTH_ADDR=auth:9101 PARLEY_ADMIN_TOKEN=… parley admin disable mallory

USER is a username, or "id:" and a user's id.
` + shell.Statuses + "\n"

// Run carries out the command line behind "parley admin".
func Run(ctx context.Context, args []string) error {
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help"}, args[0]) {
		usage(os.Stdout)
		return nil
	}
	for _, c := range commands {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	for _, c := range natsCommands {
		if c.name == args[0] {
			return c.run(ctx, args[1:])
		}
	}
	return fmt.Errorf("admin: %q is not a command; parley admin --help lists them", args[0])
}

// Names are the commands.
func Names() []string {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	for _, c := range natsCommands {
		names = append(names, c.name)
	}
	return names
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "parley admin: %s\nUsage: parley admin COMMAND [flags]\n\n", about)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-24s %s\n", strings.TrimSpace(c.name+" "+c.arguments), c.about)
	}
	for _, c := range natsCommands {
		fmt.Fprintf(w, "  %-24s %s\n", c.name, c.about)
	}
	fmt.Fprint(w, "\nparley admin COMMAND --help tells its flags.\n")
}

func (c command) run(ctx context.Context, args []string) error {
	s := config.New("parley admin "+c.name, c.about+"\n\n  parley admin "+c.example)
	d := &deployment{out: os.Stdout}
	do := c.make(s)
	var arguments []string
	if c.arguments != "" {
		s.Operands(&arguments, c.arguments)
	}
	s.Section("Output")
	s.Bool(&d.json, "json", "one JSON object a line, of the messages in proto/auth/v1 (and registry/v1, history/v1)")
	d.operator.Register(s)
	s.AlsoKnown(program.Names()...)
	s.AlsoKnown("password")
	s.Validate(func() error { return shell.CheckOperands(c.arguments, arguments) })
	if action, err := s.Load(args, os.Environ(), os.Stdout); err != nil || action == config.Stop {
		return err
	}
	defer d.close()
	return outcome(do(ctx, d, arguments))
}

// outcome gives an error its exit status.
func outcome(err error) error {
	switch errs.CodeOf(err) {
	case "", errs.Internal:
		return err
	case errs.Unavailable:
		return shell.Exit(shell.Unreached, err)
	case errs.Unauthenticated:
		return shell.Exit(shell.SignedOut, err)
	}
	return shell.Exit(shell.Refused, err)
}

// deployment is what a command works on.
type deployment struct {
	operator program.Operator
	json     bool
	out      io.Writer
	conns    []*grpc.ClientConn
}

// dial reaches a service, until the command has ended.
func (d *deployment) dial(service string) (*grpc.ClientConn, error) {
	conn, err := d.operator.Dial(service)
	if err == nil {
		d.conns = append(d.conns, conn)
	}
	return conn, err
}

func (d *deployment) close() {
	for _, conn := range d.conns {
		_ = conn.Close() // fails only when it is closed already
	}
}

// tell writes an answer: with --json as it is, else in the words given.
func (d *deployment) tell(answer proto.Message, words string, args ...any) error {
	if d.json {
		return d.tellJSON(answer)
	}
	_, err := fmt.Fprintf(d.out, words+"\n", args...)
	return err
}

func (d *deployment) tellJSON(answer proto.Message) error {
	text, err := protojson.Marshal(answer)
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	_, err = fmt.Fprintf(d.out, "%s\n", text)
	return err
}

// table writes lines with columns.
type table struct {
	d *deployment
	w *tabwriter.Writer
}

// table begins one with its head, which JSON has not.
func (d *deployment) table(head ...string) *table {
	t := &table{d, tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)}
	if !d.json {
		fmt.Fprintln(t.w, strings.Join(head, "\t"))
	}
	return t
}

func (t *table) line(answer proto.Message, columns ...string) error {
	if t.d.json {
		return t.d.tellJSON(answer)
	}
	for i, c := range columns {
		columns[i] = shell.Printable(c)
	}
	_, err := fmt.Fprintln(t.w, strings.Join(columns, "\t"))
	return err
}

func (t *table) end() error { return t.w.Flush() }

// when writes a time for people.
func when(t interface{ AsTime() time.Time }) string {
	return t.AsTime().Local().Format("2006-01-02 15:04:05")
}
