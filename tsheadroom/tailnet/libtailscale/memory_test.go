package main

import (
	"os"
	"runtime/debug"
	"testing"
)

func TestTheHeapHasASoftLimit(t *testing.T) {
	if os.Getenv("GOMEMLIMIT") != "" {
		t.Skip("GOMEMLIMIT is set, and it wins")
	}
	if got := debug.SetMemoryLimit(-1); got != softMemoryLimit {
		t.Errorf("memory limit is %d, want %d", got, int64(softMemoryLimit))
	}
}
