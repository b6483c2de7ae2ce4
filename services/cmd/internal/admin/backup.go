package admin

import (
	"context"
	"fmt"
	"os"

	"github.com/parley-im/parley/pkg/bus/backup"
	"github.com/parley-im/parley/pkg/config"
	"github.com/parley-im/parley/services/cmd/internal/program"
)

// natsCommands work on what NATS keeps, and not on a deployment that runs.
var natsCommands = []struct {
	name, about string
	run         func(ctx context.Context, args []string) error
}{
	{"backup", "Save all that a deployment keeps in NATS into a directory.", saveBackup},
	{"restore", "Restore that into an empty NATS.", restoreBackup},
}

const aboutSave = `Saves all that a deployment keeps in NATS, logs and records, into a directory that it makes. The
deployment may be in use. The backup has password hashes and signing keys in it: keep it as you keep those.

  parley admin backup --dir /backups/2026-05-01 --nats-url nats://nats-1:4222`

const aboutRestore = `Restores a backup into a NATS that has no deployment. No program of Parley's may run meanwhile;
start them afterwards. Clients begin anew with what the logs have: places they remember mean nothing any more.

  parley admin restore --dir /backups/2026-05-01 --nats-url nats://nats-1:4222 --replicas 3`

func saveBackup(ctx context.Context, args []string) error {
	return withBackup(args, "parley admin backup", aboutSave, func(o backup.Options) (*backup.Manifest, error) { return backup.Save(ctx, o) })
}

func restoreBackup(ctx context.Context, args []string) error {
	return withBackup(args, "parley admin restore", aboutRestore, func(o backup.Options) (*backup.Manifest, error) { return backup.Restore(ctx, o) })
}

func withBackup(args []string, name, about string, do func(backup.Options) (*backup.Manifest, error)) error {
	o := backup.Options{Version: config.Version(), Progress: func(s backup.Stream) {
		fmt.Fprintf(os.Stderr, "%-24s %10d messages\n", s.Name, s.Messages)
	}}
	s := config.New(name, about)
	s.Section("Backup")
	s.String(&o.Dir, "dir", "the backup's directory").Required()
	natsOptions := program.NATS(s, "parley-admin")
	s.AlsoKnown(program.Names()...)
	if action, err := s.Load(args, os.Environ(), os.Stdout); err != nil || action == config.Stop {
		return err
	}
	o.NATS = natsOptions()
	m, err := do(o)
	if err != nil {
		return err
	}
	messages := uint64(0)
	for _, s := range m.Streams {
		messages += s.Messages
	}
	fmt.Printf("%s: %d streams with %d messages, of %s\n", o.Dir, len(m.Streams), messages, m.Began.Format("2006-01-02 15:04:05Z"))
	return nil
}
