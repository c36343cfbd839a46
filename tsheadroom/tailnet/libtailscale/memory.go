package main

import (
	"os"
	"runtime/debug"
)

// softMemoryLimit bounds what Go lets its heap grow to before it collects
// harder. By default it waits for the heap to double, and a burst of large
// bodies through the userspace network stack then leaves hundreds of megabytes
// behind in a process that needs a tenth of that. It is a goal, not a wall: when
// more is in use at once, more is used.
const softMemoryLimit = 128 << 20

func init() {
	if os.Getenv("GOMEMLIMIT") == "" { // an operator's own limit wins
		debug.SetMemoryLimit(softMemoryLimit)
	}
}
