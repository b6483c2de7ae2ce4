module github.com/parley-im/parley/pkg/sdk-go

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/parley-im/parley/pkg v0.0.0
	github.com/parley-im/parley/proto v0.0.0
	go.uber.org/goleak v1.3.0
	google.golang.org/protobuf v1.36.12
)

replace (
	github.com/parley-im/parley/pkg => ../
	github.com/parley-im/parley/proto => ../../proto
)
