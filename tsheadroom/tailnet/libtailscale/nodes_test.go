package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestHandlesAreNotReused(t *testing.T) {
	all := &table{byHandle: map[int]*node{}}
	first := all.add()
	if all.get(first) == nil {
		t.Fatal("a new handle is unknown")
	}
	all.remove(first)
	if all.get(first) != nil || all.remove(first) != nil {
		t.Error("a removed handle is still known")
	}
	if second := all.add(); second == first {
		t.Error("a handle was given out twice")
	}
}

func TestCallsBeforeTheStartAreRefused(t *testing.T) {
	all := &table{byHandle: map[int]*node{}}
	n := all.get(all.add())
	if _, err := n.addresses(); !errors.Is(err, errNotStarted) {
		t.Error("addresses:", err)
	}
	if _, _, _, err := n.loopback(); !errors.Is(err, errNotStarted) {
		t.Error("loopback:", err)
	}
	if _, err := n.listen("tcp", ":80"); !errors.Is(err, errNotStarted) {
		t.Error("listen:", err)
	}
	if err := n.close(); err != nil {
		t.Error("a node that never started does not close:", err)
	}
}

func TestSettingsAfterTheStartAreRefused(t *testing.T) {
	all := &table{byHandle: map[int]*node{}}
	n := all.get(all.add())
	n.started = true
	if err := n.configure(func(*node) { t.Error("the setting was applied") }); !errors.Is(err, errStarted) {
		t.Error(err)
	}
}

func TestAHandleThatWasClosedMeanwhileDoesNothing(t *testing.T) {
	all := &table{byHandle: map[int]*node{}}
	n := all.get(all.add()) // what a call holds while another one closes the node
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	n.server.Dir = t.TempDir()
	if err := n.start(); !errors.Is(err, errClosed) {
		t.Error("start:", err)
	}
	n.started = true
	if _, err := n.addresses(); !errors.Is(err, errClosed) {
		t.Error("addresses:", err)
	}
	if _, _, _, err := n.loopback(); !errors.Is(err, errClosed) {
		t.Error("loopback:", err)
	}
	if _, err := n.listen("tcp", ":80"); !errors.Is(err, errClosed) {
		t.Error("listen:", err)
	}
}

func TestAStartThatFailsSaysWhy(t *testing.T) {
	all := &table{byHandle: map[int]*node{}}
	n := all.get(all.add())
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	file.Close()
	n.server.Dir = file.Name()
	if answer(n, n.start()) != -1 || !strings.Contains(n.failure(), file.Name()) {
		t.Errorf("a state directory that is a file: %q", n.failure())
	}
	if err := n.close(); err != nil {
		t.Error("a node that failed to start does not close:", err)
	}
}

func TestTheLastLogLinesArrive(t *testing.T) {
	reads, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	all := &table{byHandle: map[int]*node{}}
	n := all.get(all.add())
	n.logs = newLogPipe(writes)
	for range logBacklog / 2 {
		n.logs.logf("a line")
	}
	n.bridge.Say("the last words")
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reads)
	if err != nil || !strings.HasSuffix(string(text), forOperator+"the last words\n") {
		t.Errorf("%v; %d bytes, the end is %q", err, len(text), text[max(0, len(text)-40):])
	}
	if lines := strings.Count(string(text), "\n"); lines != logBacklog/2+1 {
		t.Errorf("%d lines arrived", lines)
	}
}

func TestLogLinesArriveAndNeverBlock(t *testing.T) {
	reads, writes, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	logs := newLogPipe(writes)
	logs.logf("one %d\n", 1)
	scanner := bufio.NewScanner(reads)
	if !scanner.Scan() || scanner.Text() != "one 1" {
		t.Errorf("read %q", scanner.Text())
	}
	line := strings.Repeat("x", 1000)
	for range 10 * logBacklog { // far more than the pipe and the backlog hold; nobody reads
		logs.logf("%s", line)
	}
	logs.close()
	reads.Close()
}
