package rpc_test

import (
	"fmt"
	"io"
	"slices"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"google.golang.org/grpc"

	"github.com/parley-im/parley/pkg/errs"
	"github.com/parley-im/parley/pkg/rpc"
	historyv1 "github.com/parley-im/parley/proto/history/v1"
)

func TestCallsAreCounted(t *testing.T) {
	reader := sdk.NewManualReader()
	meter := sdk.NewMeterProvider(sdk.WithReader(reader)).Meter("test")
	h := answering(errs.New("from-the-future", "x"))
	h.replay = func(*historyv1.ReplayRequest, grpc.ServerStreamingServer[historyv1.Message]) error { return nil }
	client := pair(t, h, rpc.ServerOptions{Meter: meter}, rpc.ClientOptions{Meter: meter})
	for range 2 {
		if _, err := client.ListMessages(t.Context(), &historyv1.ListMessagesRequest{}); err == nil {
			t.Fatal("no error")
		}
	}
	stream, err := client.Replay(t.Context(), &historyv1.ReplayRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Fatal(err)
	}
	want := []string{
		"parley.rpc.client.calls other /parley.history.v1.History/ListMessages history 2",
		"parley.rpc.client.calls ok /parley.history.v1.History/Replay history 1",
		"parley.rpc.server.calls other /parley.history.v1.History/ListMessages 2",
		"parley.rpc.server.calls ok /parley.history.v1.History/Replay 1",
	}
	var got []string
	eventually(t, fmt.Sprint(want), func() bool {
		got = nil
		var all metricdata.ResourceMetrics
		if err := reader.Collect(t.Context(), &all); err != nil {
			t.Fatal(err)
		}
		for _, scope := range all.ScopeMetrics {
			for _, m := range scope.Metrics {
				sum, ok := m.Data.(metricdata.Sum[int64])
				if !ok || !sum.IsMonotonic {
					continue
				}
				for _, p := range sum.DataPoints {
					line := m.Name
					for _, a := range p.Attributes.ToSlice() {
						line += " " + a.Value.AsString()
					}
					got = append(got, fmt.Sprint(line, " ", p.Value))
				}
			}
		}
		return !slices.ContainsFunc(want, func(line string) bool { return !slices.Contains(got, line) })
	})
}
