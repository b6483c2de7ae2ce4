package obs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
)

// Identity says whose telemetry it is. OTEL_SERVICE_NAME and
// OTEL_RESOURCE_ATTRIBUTES have the last word.
type Identity struct {
	// Service is the program's name ("gateway"), Version its version; that may be
	// empty.
	Service, Version string
}

func (i Identity) resource(ctx context.Context) (*resource.Resource, error) {
	attributes := []attribute.KeyValue{attribute.String("service.name", i.Service), attribute.String("service.namespace", "parley")}
	if i.Version != "" {
		attributes = append(attributes, attribute.String("service.version", i.Version))
	}
	if host, err := os.Hostname(); err == nil {
		attributes = append(attributes, attribute.String("service.instance.id", host))
	}
	found, err := resource.New(ctx, resource.WithAttributes(attributes...), resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	return found, nil
}

const (
	protocolGRPC = "grpc"
	protocolHTTP = "http/protobuf"
)

// otlp gives the protocol by which a signal (TRACES, METRICS) is sent, "" where
// it is not: nothing leaves a program unless an endpoint is set or
// OTEL_<signal>_EXPORTER is otlp. The specification would have a program
// without any setting send to localhost, which for most of them would be an error every
// few seconds. The exporters read the rest of the variables themselves.
//
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/
func otlp(signal string) (protocol string, err error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return "", nil
	}
	of := func(name string) string {
		return cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_"+name), os.Getenv("OTEL_EXPORTER_OTLP_"+name))
	}
	switch exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); {
	case exporter == "none", exporter == "prometheus" && signal == "METRICS":
		return "", nil
	case exporter == "" && of("ENDPOINT") == "":
		return "", nil
	case exporter != "" && exporter != "otlp":
		return "", fmt.Errorf("OTEL_%s_EXPORTER: %q: want otlp or none", signal, exporter)
	}
	switch protocol = cmp.Or(of("PROTOCOL"), protocolHTTP); protocol {
	case protocolGRPC, protocolHTTP:
		return protocol, nil
	}
	return "", fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q: want %s or %s", protocol, protocolGRPC, protocolHTTP)
}
