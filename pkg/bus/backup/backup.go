// Package backup saves all that a deployment keeps in NATS into a directory, and
// restores it into a NATS that has no deployment: every stream, and so every log
// and every bucket, with the numbers of its messages, as JetStream's own
// snapshots.
//
// It knows streams by their names and what has to come before what (package
// bus), and of what is in them nothing but that a restored deployment's record
// needs a new incarnation.
package backup

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/nats-io/jsm.go"
	"github.com/nats-io/jsm.go/api"
	"github.com/nats-io/nats.go"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/run"
)

// Manifest says what a backup has. It is written last: a directory without one
// is none.
type Manifest struct {
	Format int `json:"format"`
	// Version is that of the program that made it.
	Version string `json:"version"`
	// Began and Ended are when; what was stored before Began is in it, what was
	// stored after Ended is not.
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`
	Streams []Stream  `json:"streams"`
}

// Stream is one stream of a backup.
type Stream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	// Last is the number of the newest message.
	Last uint64 `json:"last"`
	step int
}

const (
	format       = 1
	manifestFile = "backup.json"
	// patience is how long NATS may take to answer one call. Beginning the
	// snapshot of a large stream takes it a while.
	patience = time.Minute
	// temporarilyUnavailable is NATS's JSClusterNotAvailErr.
	temporarilyUnavailable = 10008
	// notFound is NATS's JSStreamNotFoundErr.
	notFound = 10059
)

// Options say what to save, or where to restore to.
type Options struct {
	NATS bus.Options
	// Dir is the backup's directory. Save makes it.
	Dir string
	// Version goes into the manifest.
	Version string
	// Progress is told of each stream that is done; nil is told nothing.
	Progress func(Stream)
}

// Save makes a backup of a deployment, which may be in use.
func Save(ctx context.Context, o Options) (*Manifest, error) {
	nc, manager, err := open(ctx, o.NATS)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	streams, err := list(manager)
	if err != nil {
		return nil, err
	}
	if len(streams) == 0 || streams[len(streams)-1].step != bus.StepDeployment {
		return nil, errors.New("there is no deployment of Parley in this NATS")
	}
	m := &Manifest{Format: format, Version: o.Version, Began: time.Now().UTC()}
	// It has password hashes and signing keys in it.
	if err := os.Mkdir(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the backup's directory: %w", err)
	}
	for _, s := range streams {
		if err := save(ctx, manager, o.Dir, &s); err != nil {
			return nil, fmt.Errorf("saving %s: %w", s.Name, err)
		}
		m.Streams = append(m.Streams, s)
		o.tell(s)
	}
	m.Ended = time.Now().UTC()
	text, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(filepath.Join(o.Dir, manifestFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	return m, nil
}

func save(ctx context.Context, manager *jsm.Manager, dir string, s *Stream) error {
	stream, err := manager.LoadStream(s.Name)
	if err != nil {
		return err
	}
	if _, err := stream.SnapshotToDirectory(ctx, filepath.Join(dir, s.Name), jsm.SnapshotHealthCheck()); err != nil {
		return err
	}
	_, state, err := saved(dir, s.Name)
	if err != nil {
		return err
	}
	s.Messages, s.Last = state.Msgs, state.LastSeq
	return nil
}

// saved reads what a snapshot says of its stream.
func saved(dir, name string) (*api.StreamConfig, *api.StreamState, error) {
	content, err := os.ReadFile(filepath.Join(dir, name, jsm.SnapshotMetaFile))
	if err != nil {
		return nil, nil, err
	}
	var meta api.JSApiStreamRestoreRequest
	if err := json.Unmarshal(content, &meta); err != nil {
		return nil, nil, fmt.Errorf("decoding what the snapshot says of itself: %w", err)
	}
	return &meta.Config, &meta.State, nil
}

// Read gives the manifest of a backup.
func Read(dir string) (*Manifest, error) {
	content, err := os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no backup, or one that was not finished: it has no %s", dir, manifestFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m := new(Manifest)
	if err := json.Unmarshal(content, m); err != nil {
		return nil, fmt.Errorf("decoding the manifest: %w", err)
	}
	if m.Format != format {
		return nil, fmt.Errorf("the backup has format %d, and this program knows %d", m.Format, format)
	}
	for i := range m.Streams {
		step, ours := bus.StreamStep(m.Streams[i].Name)
		if !ours {
			return nil, fmt.Errorf("the backup has a stream %q that is not Parley's", m.Streams[i].Name)
		}
		m.Streams[i].step = step
	}
	return m, nil
}

// Restore brings a backup into a NATS where no stream of Parley's is, with
// NATS.Replicas of each stream. No program of the deployment may run before it
// has ended: they would make streams of their own.
func Restore(ctx context.Context, o Options) (*Manifest, error) {
	m, err := Read(o.Dir)
	if err != nil {
		return nil, err
	}
	nc, manager, err := open(ctx, o.NATS)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	there, err := list(manager)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		return nil, fmt.Errorf("this NATS has streams of Parley's already (%s, …): restore into an empty one", there[0].Name)
	}
	// The record of the deployment comes last, so that what was cut off is
	// noticed: programs would make a new one, and find that streams are there.
	order := slices.Clone(m.Streams)
	slices.SortStableFunc(order, func(a, b Stream) int { return cmp.Compare(restoreStep(a), restoreStep(b)) })
	for _, s := range order {
		if err := restore(ctx, manager, o, s); err != nil {
			return nil, fmt.Errorf("restoring %s: %w", s.Name, err)
		}
		o.tell(s)
	}
	return m, reincarnate(manager, nc)
}

// restoreStep has what others are made of before them, and the record last.
func restoreStep(s Stream) int {
	if s.step == bus.StepDeployment {
		return bus.Steps
	}
	return bus.Steps - 1 - s.step
}

func restore(ctx context.Context, manager *jsm.Manager, o Options, s Stream) error {
	config, _, err := saved(o.Dir, s.Name)
	if err != nil {
		return err
	}
	config.Replicas = max(1, o.NATS.Replicas)
	config.Placement = nil // of the cluster it was in
	var state *api.StreamState
	err = insist(ctx, func() (err error) {
		_, state, err = manager.RestoreSnapshotFromDirectory(ctx, s.Name, filepath.Join(o.Dir, s.Name), jsm.RestoreConfiguration(*config))
		if !unheard(err) {
			return err
		}
		// What was begun stays until it is deleted (processStreamAssignmentResults in
		// nats-server's jetstream_cluster.go).
		if gone := manager.DeleteStream(s.Name); gone != nil && !jsm.IsNatsError(gone, notFound) {
			// Not %w: it must not be begun again where nobody hears of this either.
			return fmt.Errorf("deleting what was begun of it: %v", gone)
		}
		return err
	}, unheard)
	if err != nil {
		return err
	}
	// A message may have expired since; none may be numbered anew.
	if state.LastSeq != s.Last {
		return fmt.Errorf("its newest message is %d, and was %d in the backup", state.LastSeq, s.Last)
	}
	return nil
}

// unheard says whether no node knew where to send a stream: the one of a cluster
// that takes it in may say where before the others have heard of that place.
func unheard(err error) bool { return errors.Is(err, nats.ErrNoResponders) }

// reincarnate makes the restored deployment another one to whoever remembers
// places of the first.
func reincarnate(manager *jsm.Manager, nc *nats.Conn) error {
	stream, err := manager.LoadStream("KV_" + string(bus.Config))
	if err != nil {
		return fmt.Errorf("reading the deployment's record: %w", err)
	}
	record, err := stream.ReadLastMessageForSubject(bus.DeploymentSubject)
	if err != nil {
		return fmt.Errorf("reading the deployment's record: %w", err)
	}
	fresh, err := bus.Reincarnate(record.Data)
	if err != nil {
		return err
	}
	js, err := nc.JetStream()
	if err == nil {
		_, err = js.Publish(bus.DeploymentSubject, fresh, nats.ExpectLastSequence(record.Sequence))
	}
	if err != nil {
		return fmt.Errorf("writing the deployment's record: %w", err)
	}
	return nil
}

func open(ctx context.Context, o bus.Options) (*nats.Conn, *jsm.Manager, error) {
	nc, err := bus.Dial(o)
	if err != nil {
		return nil, nil, err
	}
	manager, err := jsm.New(nc, jsm.WithTimeout(patience))
	if err == nil {
		err = elected(ctx, nc)
	}
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("opening JetStream: %w", err)
	}
	return nc, manager, nil
}

// elected waits until a cluster that was just started has a leader: before that
// it answers nobody, and what was asked is lost.
func elected(ctx context.Context, nc *nats.Conn) error {
	manager, err := jsm.New(nc, jsm.WithTimeout(2*time.Second))
	if err != nil {
		return err
	}
	return insist(ctx, func() error {
		_, err := manager.StreamNames(nil)
		return err
	}, func(err error) bool {
		return errors.Is(err, context.DeadlineExceeded) || jsm.IsNatsError(err, temporarilyUnavailable)
	})
}

// insist calls do again while its error is one that passes, and begins no call
// after patience.
func insist(ctx context.Context, do func() error, passes func(error) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := do()
		if err == nil || !passes(err) || !run.Sleep(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// list gives the streams of Parley's that are there, in the order in which they
// are saved.
func list(manager *jsm.Manager) ([]Stream, error) {
	names, err := manager.StreamNames(nil)
	if err != nil {
		return nil, fmt.Errorf("listing streams: %w", err)
	}
	var streams []Stream
	for _, name := range names {
		if step, ours := bus.StreamStep(name); ours {
			streams = append(streams, Stream{Name: name, step: step})
		}
	}
	slices.SortFunc(streams, func(a, b Stream) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.Name, b.Name))
	})
	return streams, nil
}

func (o *Options) tell(s Stream) {
	if o.Progress != nil {
		o.Progress(s)
	}
}
