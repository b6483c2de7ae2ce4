package bus

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"github.com/parley-im/parley/pkg/frame"
	busv1 "github.com/parley-im/parley/proto/bus/v1"
)

// Whoever may sign in to NATS may say there what they like: another version of
// Parley, somebody's tool, a mistake. What is not ours is passed over and counted,
// and takes nothing with it that is.

// PassOver notes that something that was met on NATS is not ours: where that was,
// and what is wrong with it. A flood of such things is a line a second.
func (b *Bus) PassOver(where string, err error) {
	b.foreign.Add(1)
	b.strange.Do(func() { b.log.Warn("passed over what is not ours", "where", where, "error", err) })
}

const (
	// maxInteger is the greatest integer that a frame can carry in JSON, and so
	// the greatest seq.
	maxInteger = 1 << 53
	// leastTime and mostTime are the times, in milliseconds since 1970, that one
	// can: the years 1 to 9999.
	leastTime = -62_135_596_800_000
	mostTime  = 253_402_300_799_999
)

func checkTime(ms int64) error {
	if ms < leastTime || ms > mostTime {
		return fmt.Errorf("the time %d ms is not in the years 1 to 9999", ms)
	}
	return nil
}

// decodeEntry reads what a log holds. Something that no frame could carry is not
// ours either: it would end the connection of everybody to whom it is sent, and
// again whenever they come back and are told what they have missed.
func decodeEntry(data []byte) (*busv1.LogEntry, error) {
	entry := new(busv1.LogEntry)
	if err := proto.Unmarshal(data, entry); err != nil {
		return nil, err
	}
	if err := checkTime(entry.TimeMs); err != nil {
		return nil, err
	}
	if entry.Target > maxInteger {
		return nil, errors.New("its target is beyond 2^53")
	}
	if entry.Data != nil {
		if err := frame.CheckData(entry.Data); err != nil {
			return nil, err
		}
	}
	return entry, nil
}

// entryOf is decodeEntry where an entry that is not ours has a place all the same.
func (b *Bus) entryOf(where string, data []byte) *busv1.LogEntry {
	entry, err := decodeEntry(data)
	if err != nil {
		b.PassOver(where, err)
	}
	return entry
}

// Decode reads what has come on a subject that rooms are heard on, with its
// headers. An error means that it is not ours.
func (b *Bus) Decode(subject string, header map[string][]string, data []byte) (Delivery, error) {
	return b.decode(&nats.Msg{Subject: subject, Header: header, Data: data})
}

func (b *Bus) decode(msg *nats.Msg) (Delivery, error) {
	room, err := roomOf(msg.Subject)
	if err != nil {
		return Delivery{}, err
	}
	if msg.Header.Get(headerSequence) == "" {
		event := new(busv1.LiveEvent)
		if err := proto.Unmarshal(msg.Data, event); err != nil {
			return Delivery{}, err
		}
		return Delivery{Room: room, Live: event}, nil
	}
	stored, err := b.decodeStored(msg, msg.Subject)
	if err != nil {
		return Delivery{}, err
	}
	if stored.Seq > maxInteger || stored.Prev > maxInteger {
		return Delivery{}, errors.New("its seq is beyond 2^53")
	}
	return Delivery{Room: room, Stored: &stored}, nil
}
