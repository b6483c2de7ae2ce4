package alerts

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// memory is the series of a test; it implements storage.Queryable.
type memory []*storage.SeriesEntry

// add takes a series in as test files write it: "name{label="value"}" with the
// values "0+10x5", one each interval from time 0.
func (m *memory) add(p parser.Parser, name, values string, interval time.Duration) error {
	set, points, err := p.ParseSeriesDesc(name + " " + values)
	if err != nil {
		return err
	}
	var samples []chunks.Sample
	for i, point := range points {
		if !point.Omitted {
			samples = append(samples, sample{(time.Duration(i) * interval).Milliseconds(), point.Value})
		}
	}
	*m = append(*m, storage.NewListSeries(set, samples))
	return nil
}

func (m memory) Querier(int64, int64) (storage.Querier, error) { return querier{m}, nil }

type querier struct{ series memory }

func (q querier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &set{at: -1}
	for _, s := range q.series {
		matches := true
		for _, m := range matchers {
			matches = matches && m.Matches(s.Lset.Get(m.Name))
		}
		if matches {
			found.series = append(found.series, s)
		}
	}
	return found
}

// The engine asks for neither.
var errNotAsked = errors.New("not for queries")

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotAsked
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, errNotAsked
}

func (querier) Close() error { return nil }

type set struct {
	series memory
	at     int
}

func (s *set) Next() bool                        { s.at++; return s.at < len(s.series) }
func (s *set) At() storage.Series                { return s.series[s.at] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }

// sample is one value at a time, milliseconds.
type sample struct {
	at    int64
	value float64
}

func (s sample) T() int64                      { return s.at }
func (s sample) ST() int64                     { return 0 }
func (s sample) F() float64                    { return s.value }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }
