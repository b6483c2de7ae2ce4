package bus

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/ids"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Dial opens a connection that reads and makes no record of a deployment, for
// package backup, to which all is streams. It does not wait for a NATS that is
// out of reach.
func Dial(o Options) (*nats.Conn, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	options := []nats.Option{nats.Name(o.Name), nats.Timeout(connectTimeout)}
	if o.InProcess != nil {
		options = append(options, nats.InProcessServer(o.InProcess))
	} else {
		signIn, err := o.signIn()
		if err != nil {
			return nil, err
		}
		options = append(options, signIn...)
	}
	nc, err := nats.Connect(o.URL, options...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS at %s: %w", o.URL, err)
	}
	return nc, nil
}

// The steps in which streams are saved, as StreamStep gives them.
const (
	StepFirst  = iota // what tells how far events have been made
	StepEvents        // the events
	StepSource        // what they are made of
	StepLog
	StepRecords
	StepDeployment // the deployment's own record
	Steps
)

// StreamStep says in which step a stream of Parley's is saved, and false of one
// that is somebody else's. No step may be ahead of the next: events that know of
// messages which the log lacks would pass over those that come in their place,
// and a room without a record could be made by a stranger, who would see its log.
func StreamStep(stream string) (int, bool) {
	bucket, isBucket := strings.CutPrefix(stream, "KV_")
	switch {
	case isBucket && Bucket(bucket) == Events:
		return StepFirst, true
	case stream == streamEvents:
		return StepEvents, true
	case stream == streamChanges:
		return StepSource, true
	case strings.HasPrefix(stream, streamLogPrefix):
		return StepLog, true
	case isBucket && Bucket(bucket) == Config:
		return StepDeployment, true
	case isBucket && strings.HasPrefix(bucket, "parley_"), strings.HasPrefix(stream, "PARLEY_"):
		return StepRecords, true
	}
	return 0, false
}

// DeploymentSubject is where the deployment's record is stored.
const DeploymentSubject = "$KV." + string(Config) + "." + keyDeployment

// Reincarnate gives a deployment's record a new incarnation, by which every
// place in every log means nothing any more (Epoch).
func Reincarnate(record []byte) ([]byte, error) {
	d := new(busv1.Deployment)
	if err := proto.Unmarshal(record, d); err != nil {
		return nil, fmt.Errorf("decoding the deployment's record: %w", err)
	}
	d.Incarnation = newIncarnation()
	return proto.Marshal(d)
}

func newIncarnation() string { return ids.New("")[:8] }
