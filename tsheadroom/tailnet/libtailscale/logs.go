package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// logBacklog is how many lines wait for a slow reader before lines are dropped: tsnet
// logs while it holds its locks, so a full pipe must never make it wait.
const logBacklog = 1024

// lastWords is how long a closing pipe waits until its reader has taken what was logged.
const lastWords = time.Second

// forOperator marks the lines that are not for the node's developers only.
const forOperator = "[operator] "

// logPipe writes log lines to a descriptor, from a goroutine of its own.
type logPipe struct {
	lines chan string
	done  chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newLogPipe(out *os.File) *logPipe {
	p := &logPipe{lines: make(chan string, logBacklog), done: make(chan struct{}), ended: make(chan struct{})}
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
	defer func() { recover() }() // no line is worth the process
	defer close(p.ended)
	defer out.Close()
	for {
		select {
		case line := <-p.lines:
			if _, err := out.WriteString(line); err != nil {
				return
			}
		case <-p.done:
			p.writeRest(out)
			return
		}
	}
}

// writeRest writes what was logged before the end: of a node that does not close, its
// last lines say why.
func (p *logPipe) writeRest(out *os.File) {
	for {
		select {
		case line := <-p.lines:
			if _, err := out.WriteString(line); err != nil {
				return
			}
		default:
			return
		}
	}
}

// close ends the pipe. It waits a bounded time for its reader.
func (p *logPipe) close() {
	p.once.Do(func() { close(p.done) })
	select {
	case <-p.ended:
	case <-time.After(lastWords):
	}
}
