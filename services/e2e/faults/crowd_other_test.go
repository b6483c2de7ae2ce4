//go:build !linux

package faults

import (
	"testing"

	"github.com/parley-im/parley/services/e2e/report"
)

// crowd is nobody: what has it (services/e2e/bench/load) needs Linux.
type crowd struct{}

func gather(*testing.T, *cluster, int, uint64) *crowd { return &crowd{} }

func (*crowd) whole() error { return nil }

func (*crowd) text() string { return "no crowd: that needs Linux" }

func (*crowd) fared() report.Soak { return report.Soak{} }
