//go:build !linux

package nowait

import "net"

// Conn gives the connection back as it is.
func Conn(c net.Conn) (net.Conn, error) { return c, nil }
