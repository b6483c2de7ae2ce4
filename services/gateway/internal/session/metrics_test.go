package session

import (
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
)

// BenchmarkPublished is what a message costs that is acknowledged and measured.
func BenchmarkPublished(b *testing.B) {
	h := &Hub{started: time.Now()}
	if err := h.Observe(sdk.NewMeterProvider(sdk.WithReader(sdk.NewManualReader())).Meter("gateway")); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		h.published(h.now(), nil)
	}
}
