//go:build !linux

package faults

import "testing"

// volume is a small disk of its own, which nothing makes here.
type volume struct{}

func mount(testing.TB, string, int64) *volume { return nil }

func (*volume) resize(int64)  {}
func (*volume) readOnly(bool) {}
func (*volume) fill()         {}
