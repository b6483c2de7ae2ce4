//go:build !linux

package main

import (
	"context"
	"errors"
)

var errLinux = errors.New("bench needs Linux, whose sockets and clocks it uses as they are")

func benchmark(context.Context, []string) error    { return errLinux }
func benchProcess(context.Context, []string) error { return errLinux }
