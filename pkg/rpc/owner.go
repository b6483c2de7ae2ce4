package rpc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc/credentials"
)

const socketScheme = "unix://"

// SocketAddress gives what Dial takes to reach an OwnerSocket.
func SocketAddress(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	return socketScheme + path, nil
}

// OwnerSocket listens on a socket file that only the user who runs this process
// can open: who calls over it is trusted as an operator is (package access). It
// is to be in a directory that is closed to others, for it is so itself only a
// moment after it was made. A file that another process has left behind is
// replaced. Closing it takes the file away. The operating system allows paths
// of about 100 bytes.
func OwnerSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() == fs.ModeSocket {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("removing the socket of an earlier process: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listening on a socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("closing the socket to others: %w", err)
	}
	return ownerSocket{l}, nil
}

type ownerSocket struct{ net.Listener }

// Accept implements net.Listener.
func (s ownerSocket) Accept() (net.Conn, error) {
	conn, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return ownerConn{conn}, nil
}

// ownerConn is a connection that came over such a socket.
type ownerConn struct{ net.Conn }

// byOwner marks it for the handlers.
type byOwner struct{ credentials.CommonAuthInfo }

func (byOwner) AuthType() string { return "owner" }
