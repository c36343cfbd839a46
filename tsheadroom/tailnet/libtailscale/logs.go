package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// logBacklog is how many lines wait for a slow reader before lines are dropped: tsnet
// logs while it holds its locks, so a full pipe must never make it wait.
const logBacklog = 1024

// logPipe writes log lines to a descriptor, from a goroutine of its own.
type logPipe struct {
	lines chan string
	done  chan struct{}
	once  sync.Once
}

func newLogPipe(out *os.File) *logPipe {
	p := &logPipe{lines: make(chan string, logBacklog), done: make(chan struct{})}
	go p.write(out)
	return p
}

func (p *logPipe) logf(format string, args ...any) {
	line := strings.TrimRight(fmt.Sprintf(format, args...), "\n") + "\n"
	select {
	case p.lines <- line:
	default:
	}
}

// write ends, and closes the descriptor, when the pipe is closed or its reader is gone.
func (p *logPipe) write(out *os.File) {
	defer out.Close()
	for {
		select {
		case line := <-p.lines:
			if _, err := out.WriteString(line); err != nil {
				return
			}
		case <-p.done:
			return
		}
	}
}

func (p *logPipe) close() { p.once.Do(func() { close(p.done) }) }
