package rpc

import (
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// labels makes what calls are counted under, once for each method and code: a
// set of attributes is sorted and hashed, which costs as much as a small call.
// Its bound is that both are known: methods are those that are registered, or
// that this program calls, and codes those that codeLabel and codeName give.
type labels struct {
	service string   // of a client; "" for a server
	known   sync.Map // of labelled to *label
}

type labelled struct{ method, code string }

// label is a set of attributes in the forms that instruments take.
type label struct {
	add    []metric.AddOption
	record []metric.RecordOption
}

// of gives the label of a method and a code, "" for all codes together.
func (l *labels) of(method, code string) *label {
	key := labelled{method, code}
	if made, ok := l.known.Load(key); ok {
		return made.(*label)
	}
	attributes := []attribute.KeyValue{attribute.String("method", method)}
	if l.service != "" {
		attributes = append(attributes, attribute.String("service", l.service))
	}
	if code != "" {
		attributes = append(attributes, attribute.String("code", code))
	}
	set := metric.WithAttributeSet(attribute.NewSet(attributes...))
	made, _ := l.known.LoadOrStore(key, &label{add: []metric.AddOption{set}, record: []metric.RecordOption{set}})
	return made.(*label)
}
