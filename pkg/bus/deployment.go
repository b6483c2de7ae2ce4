package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/run"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

const keyDeployment = "deployment"

// Deployment is what all processes of one deployment agree on.
type Deployment struct {
	// Shards is the number of streams the log is spread over.
	Shards int
	// Incarnation is renewed when the deployment is restored from a backup.
	Incarnation string
}

// Deployment tells what the deployment's record says.
func (b *Bus) Deployment() Deployment { return b.deployment }

// Epoch names one life of a room's log: of this incarnation of the deployment,
// and of the room that was made at this revision. The log forgets both when a
// backup is restored or the room is made anew, and then an old seq means
// nothing.
func (b *Bus) Epoch(creationRevision uint64) string {
	return b.deployment.Incarnation + "-" + strconv.FormatUint(creationRevision, 36)
}

// readDeployment reads the record, or makes it when this is the first process
// of the deployment, and holds it against the options.
func (b *Bus) readDeployment(ctx context.Context) error {
	for {
		err := b.tryDeployment(ctx)
		if err == nil || errors.Is(err, errShards) {
			return err
		}
		// JetStream may be a moment behind the connection, or its leader
		// being elected.
		b.log.Warn("reading the deployment's record", "error", err)
		if !run.Sleep(ctx, 500*time.Millisecond) {
			return fmt.Errorf("reading the deployment's record: %w", err)
		}
	}
}

var errShards = errors.New("shards")

// maxShards is the most that a deployment may have.
const maxShards = 1024

func (b *Bus) tryDeployment(ctx context.Context) error {
	// A cluster that has no leader yet does not answer at all.
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	kv, err := b.Bucket(ctx, Config)
	if err != nil {
		return err
	}
	shards := b.opts.Shards
	if shards == 0 {
		shards = b.opts.NewShards
	}
	fresh := &busv1.Deployment{Shards: uint32(shards), Incarnation: newIncarnation()}
	value, err := proto.Marshal(fresh)
	if err != nil {
		return err
	}
	if _, err := kv.Create(ctx, keyDeployment, value); err != nil && !errors.Is(err, ErrExists) {
		return err
	}
	entry, err := kv.Get(ctx, keyDeployment)
	if err != nil {
		return err
	}
	record := new(busv1.Deployment)
	if err := proto.Unmarshal(entry.Value, record); err != nil {
		return fmt.Errorf("decoding the deployment's record: %w", err)
	}
	if record.Shards < 1 || record.Shards > maxShards {
		return fmt.Errorf("%w: the deployment's record has %d, which no version of ours has written: restore it from a backup", errShards, record.Shards)
	}
	if b.opts.Shards != 0 && b.opts.Shards != int(record.Shards) {
		return fmt.Errorf("%w: set to %d, but this deployment was made with %d: set %d, or make a new deployment",
			errShards, b.opts.Shards, record.Shards, record.Shards)
	}
	b.deployment = Deployment{Shards: int(record.Shards), Incarnation: record.Incarnation}
	return nil
}
