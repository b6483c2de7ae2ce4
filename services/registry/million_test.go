package registry

import (
	"context"
	"flag"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-im/parley/pkg/bus"
	"github.com/parley-im/parley/pkg/run"
	registryv1 "github.com/parley-im/parley/proto/registry/v1"
	wirev1 "github.com/parley-im/parley/proto/wire/v1"
)

// BenchmarkMillion asks a registry of 1,000,000 rooms over gRPC, with NATS on
// file storage in this process: every tenth room is private with a member
// beside its owner, and somebody is in every tenth. It reports how long a
// replica takes to start and what a room weighs in its memory, and of each
// request the median and the 99th percentile, with eight callers at a time.
//
// Run once only (-benchtime 1x), as all benchmarks are that they stay alive, it
// makes 20,000 rooms.
func BenchmarkMillion(b *testing.B) {
	rooms := 1_000_000
	if flag.Lookup("test.benchtime").Value.String() == "1x" {
		rooms = 20_000
	}
	store := connect(b, bus.Options{InProcess: startNATS(b, b.TempDir(), "")})
	fill(b, store, rooms)
	before, began := heapInUse(), time.Now()
	r := begin(b, Options{Bus: store, Presence: everyTenth(rooms)})
	within(b, 5*time.Minute, "ready", func() bool { return r.Ready(b.Context()) == nil })
	took := time.Since(began)
	eventually(b, "the counts", func() bool {
		r.picture.mu.RLock()
		defer r.picture.mu.RUnlock()
		return r.picture.orders.counted
	})
	weight := float64(heapInUse()-before) / float64(rooms)
	client := serve(b, r)

	b.Run("start", func(b *testing.B) {
		b.ReportMetric(0, "ns/op") // it has started once
		b.ReportMetric(took.Seconds(), "s")
		b.ReportMetric(weight, "bytes/room")
	})
	list := func(actor *registryv1.Actor, sort registryv1.Sort, prefix string) func(context.Context, int) error {
		// Each caller goes through the list, from different places on.
		var mu sync.Mutex
		cursors := make(map[int]string)
		return func(ctx context.Context, i int) error {
			mu.Lock()
			cursor := cursors[i%64]
			mu.Unlock()
			page, err := client.ListRooms(ctx, &registryv1.ListRoomsRequest{Actor: actor, Sort: sort, Prefix: prefix, Cursor: cursor})
			if err != nil {
				return err
			}
			if len(page.Rooms) == 0 {
				return fmt.Errorf("the page from %q on is empty", cursor)
			}
			mu.Lock()
			cursors[i%64] = page.NextCursor
			mu.Unlock()
			return nil
		}
	}
	made := new(atomic.Int64)
	create := func(ctx context.Context, _ int) error {
		n := made.Add(1)
		_, err := client.CreateRoom(ctx, &registryv1.CreateRoomRequest{RoomId: fmt.Sprintf("new-%08d", n), Persistent: n%2 == 0, Actor: as(benchUser(int(n)))})
		return err
	}
	stranger := as("eve")
	for _, c := range []struct {
		name string
		call func(context.Context, int) error
	}{
		{"get-rooms/id", list(stranger, registryv1.Sort_SORT_ID, "")},
		{"get-rooms/prefix", list(stranger, registryv1.Sort_SORT_ID, "room-00012")},
		{"get-rooms/name", list(stranger, registryv1.Sort_SORT_NAME, "")},
		{"get-rooms/members", list(stranger, registryv1.Sort_SORT_MEMBERS, "")},
		{"get-rooms/of-a-member", list(as(benchUser(10)), registryv1.Sort_SORT_NAME, "")},
		{"get-rooms/everything", list(nil, registryv1.Sort_SORT_MEMBERS, "")},
		{"create-room", create},
		{"update-room", func(ctx context.Context, i int) error {
			topic := fmt.Sprint(i)
			_, err := client.UpdateRoom(ctx, &registryv1.UpdateRoomRequest{RoomId: benchRoom(i * 7919 % rooms), Topic: &topic})
			return err
		}},
	} {
		b.Run(c.name, func(b *testing.B) { latency(b, c.call) })
	}
	b.Run("get-rooms/while-rooms-are-made", func(b *testing.B) {
		ctx, cancel := context.WithCancel(b.Context())
		var work sync.WaitGroup
		for range 2 {
			work.Go(func() {
				for run.Sleep(ctx, 4*time.Millisecond) { // up to 500 a second
					if err := create(ctx, 0); err != nil && ctx.Err() == nil {
						b.Error(err)
					}
				}
			})
		}
		latency(b, list(stranger, registryv1.Sort_SORT_NAME, ""))
		cancel()
		work.Wait()
	})
}

// everyTenth is a presence in which somebody is in every tenth of so many rooms.
type everyTenth int

func (n everyTenth) WatchRooms(ctx context.Context, changed func(RoomCount)) error {
	for i := 0; i < int(n); i += 10 {
		changed(RoomCount{RoomID: benchRoom(i), Count: int64(1 + i%97)})
	}
	changed(RoomCount{Complete: true})
	<-ctx.Done()
	return ctx.Err()
}

func benchRoom(i int) string { return fmt.Sprintf("room-%07d", i) }
func benchUser(i int) string { return fmt.Sprintf("u_%06d", i%100_000) }

// fill stores rooms as a registry does, many at a time.
func fill(b *testing.B, store *bus.Bus, rooms int) {
	kv, err := store.Bucket(b.Context(), bus.Rooms)
	if err != nil {
		b.Fatal(err)
	}
	put := func(key string, value []byte, err error) (uint64, error) {
		if err != nil {
			return 0, err
		}
		return kv.Create(b.Context(), key, value)
	}
	one := func(i int) error {
		room := &registryv1.Room{
			Id: benchRoom(i), Name: fmt.Sprintf("Team %d", i*7919%rooms), Visibility: public, Persistent: true,
			Owner: &wirev1.User{Id: benchUser(i), Username: benchUser(i)}, CreatedAt: timestamppb.Now(),
		}
		if i%10 == 1 {
			room.Visibility = private
		}
		value, err := encodeRoom(room)
		revision, err := put(roomKey(room.Id), value, err)
		if err != nil || room.Visibility == public {
			return err
		}
		value, err = encodeMember(&registryv1.Member{User: as(benchUser(i + 9)).User, Role: member, Epoch: store.Epoch(revision)})
		_, err = put(memberKey(room.Id, benchUser(i+9)), value, err)
		return err
	}
	var work sync.WaitGroup
	next := new(atomic.Int64)
	for range 128 {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < rooms; i = int(next.Add(1)) - 1 {
				if err := one(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	work.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// serve gives a client of a replica, over TCP.
func serve(b *testing.B, r *replica) registryv1.RegistryClient {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := grpc.NewServer()
	r.Register(server)
	var work sync.WaitGroup
	work.Go(func() { _ = server.Serve(listener) })
	client, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); server.Stop(); work.Wait() })
	return registryv1.NewRegistryClient(client)
}

// latency has eight callers share b.N calls.
func latency(b *testing.B, call func(ctx context.Context, i int) error) {
	took := make([]time.Duration, b.N)
	next := new(atomic.Int64)
	var work sync.WaitGroup
	b.ResetTimer()
	for range 8 {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := call(b.Context(), i); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	work.Wait()
	b.StopTimer()
	slices.Sort(took)
	for name, at := range map[string]int{"p50-ms": b.N / 2, "p99-ms": b.N * 99 / 100} {
		b.ReportMetric(float64(took[min(at, b.N-1)])/float64(time.Millisecond), name)
	}
}

// heapInUse is what is not garbage.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
