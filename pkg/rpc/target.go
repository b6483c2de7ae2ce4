package rpc

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// listScheme is that of targets made of an address list. It is resolved only
// within the connection it was made for.
const listScheme = "parley"

// resolve turns what an operator writes, "host:port,host:port" or
// "dns:///host:port", or the address of an OwnerSocket, into a gRPC target and
// what is needed to resolve it.
func resolve(name, target string) (string, []grpc.DialOption, error) {
	target = strings.TrimSpace(target)
	if target == "" {
		return "", nil, errors.New("address is missing: host:port, several separated by commas, or dns:///host:port")
	}
	if path, ok := strings.CutPrefix(target, socketScheme); ok {
		if !filepath.IsAbs(path) {
			return "", nil, fmt.Errorf("address %q: the socket's path is not absolute", target)
		}
		return target, nil, nil
	}
	if strings.Contains(target, "://") {
		if !strings.HasPrefix(target, "dns:///") {
			return "", nil, fmt.Errorf("address %q: neither host:port nor dns:///host:port", target)
		}
		return target, nil, nil
	}
	var state resolver.State
	for address := range strings.SplitSeq(target, ",") {
		address = strings.TrimSpace(address)
		host, port, err := net.SplitHostPort(address)
		if err == nil && (host == "" || port == "") {
			err = errors.New("host or port is missing")
		}
		if err != nil {
			return "", nil, fmt.Errorf("address %q: %w", address, err)
		}
		// A certificate is for the host that was dialed.
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address, ServerName: host})
	}
	list := manual.NewBuilderWithScheme(listScheme)
	list.InitialState(state)
	return listScheme + ":///" + name, []grpc.DialOption{grpc.WithResolvers(list)}, nil
}
