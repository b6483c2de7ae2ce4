package history

import (
	"context"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/ids"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

const (
	// replayPage is how many entries are read, and held, at once.
	replayPage = 200
	// compareEvery is how often a follow compares itself with the log's tail,
	// for a room's last message may be lost without a next one to tell.
	compareEvery = 10 * time.Second
)

// Replay implements historyv1.HistoryServer.
//
// The entries are those behind a place in the log. since is the place before
// the first entry whose timestamp is not earlier; timestamps are those of the
// publishing gateways, whose clocks may differ, and what comes behind the
// place is sent whatever its timestamp.
//
// With follow the stream's header is sent once nothing that is stored from
// then on can be missed; NATS being out of reach only delays a stream that has
// got so far.
func (s *Service) Replay(r *historyv1.ReplayRequest, stream grpc.ServerStreamingServer[historyv1.Message]) error {
	if err := s.available(); err != nil {
		return err
	}
	if err := ids.CheckRoom("roomId", r.RoomId); err != nil {
		return err
	}
	p := &replay{s: s, room: r.RoomId, last: r.GetAfter(), stream: stream}
	if p.last > maxSeq {
		return errs.Invalid("after", "is greater than 2^53")
	}
	if since := r.GetSince(); since != nil {
		if err := since.CheckValid(); err != nil {
			return errs.Invalid("since", "is no time")
		}
		// Entries know milliseconds: what was stored within since's own is
		// counted as later, so that nothing is missed.
		p.since, p.skipping = since.AsTime().UnixMilli(), true
	}
	ctx := stream.Context()
	if !r.Follow {
		tail, err := s.bus.Tail(ctx, p.room)
		if err != nil {
			return err
		}
		return p.read(ctx, tail, tail)
	}
	f, err := s.follow(p.room)
	if err != nil {
		return err
	}
	defer s.unfollow(f)
	s.metrics.follows.Add(ctx, 1)
	defer s.metrics.follows.Add(context.WithoutCancel(ctx), -1)
	return p.follow(ctx, f)
}

// replay is one stream on its way through a room's log.
type replay struct {
	s      *Service
	room   string
	stream grpc.ServerStreamingServer[historyv1.Message]

	// last is the place it has come to: everything up to it was sent, and
	// nothing behind it.
	last uint64
	// skipping until the first entry that is not earlier than since, in
	// milliseconds since 1970.
	skipping bool
	since    int64
	// patient: reads that fail are tried again.
	patient bool
}

// follow sends what the log holds and then what is stored, until the client or
// the service ends it.
//
// Entries that come live are sent as they are while the chain holds: each
// names the one before it, and if that is not beyond the last one sent,
// nothing lies between. Otherwise the log is read.
func (p *replay) follow(ctx context.Context, f *follower) error {
	// The subscription stands, so what the tail does not count will come live.
	tail, err := p.s.bus.Tail(ctx, p.room)
	if err != nil {
		return err
	}
	f.miss(tail)
	if err := p.stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	p.patient = true
	compare := time.NewTicker(compareEvery)
	defer compare.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.s.ended:
			return errStopping()
		case <-compare.C:
			// An error is no news: the next comparison, or the reconnect, tells.
			if tail, err := p.s.bus.Tail(ctx, p.room); err == nil && tail > p.last {
				f.miss(tail)
			}
		case <-f.wake:
			if err := p.advance(ctx, f); err != nil {
				return err
			}
		}
	}
}

// advance sends what a follower has got.
func (p *replay) advance(ctx context.Context, f *follower) error {
	entries, lost, reach := f.take()
	if lost {
		if err := p.catchUp(ctx, reach); err != nil {
			return err
		}
	}
	for _, e := range entries {
		if e.Prev > p.last {
			if err := p.catchUp(ctx, e.Seq); err != nil {
				return err
			}
		}
		if err := p.send(e); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) catchUp(ctx context.Context, reach uint64) error {
	p.s.metrics.catchUps.Add(ctx, 1)
	return p.read(ctx, reach, math.MaxUint64)
}

// read sends from the log all up to reach at least, and then until the log has
// no more or until is reached.
func (p *replay) read(ctx context.Context, reach, until uint64) error {
	for p.last < until {
		page, err := p.page(ctx, reach)
		if err != nil {
			return err
		}
		entries, _ := bus.WithoutDeleted(page.Entries)
		for _, e := range entries {
			if err := p.send(e); err != nil {
				return err
			}
		}
		if !page.More {
			break
		}
	}
	return nil
}

func (p *replay) page(ctx context.Context, reach uint64) (bus.Page, error) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, maxPause) {
		page, err := p.s.bus.ReadAfter(ctx, p.room, p.last, replayPage, reach)
		if err == nil || !p.patient || errs.CodeOf(err) != errs.Unavailable {
			return page, err
		}
		p.s.log.Debug("reading for a follow, trying again", "room", p.room, "error", err)
		select {
		case <-ctx.Done():
			return page, ctx.Err()
		case <-p.s.ended:
			return page, errStopping()
		case <-time.After(pause):
		}
	}
}

// send sends an entry, unless it was sent: a new leader of the log repeats
// what the old one had republished.
func (p *replay) send(e bus.Stored) error {
	if e.Seq <= p.last {
		return nil
	}
	p.last = e.Seq
	if e.Entry == nil {
		return nil // a place in the log that holds nothing of ours
	}
	if p.skipping && e.Entry.TimeMs < p.since {
		return nil
	}
	p.skipping = false
	p.s.metrics.replayed.Add(p.stream.Context(), 1)
	return p.stream.Send(message(e))
}
