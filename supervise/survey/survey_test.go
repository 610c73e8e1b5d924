package survey

import (
	"os"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMeasureMany counts more processes than one read of their list tells.
func TestMeasureMany(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes 2000 processes")
	}
	const many = 2000
	runtime.LockOSThread() // they are the children of one thread
	defer runtime.UnlockOSThread()
	before := Measure(os.Getpid()).Processes
	var pids []int
	defer func() {
		for _, pid := range pids {
			unix.Wait4(pid, nil, 0, nil)
		}
	}()
	for range many {
		pid, err := syscall.ForkExec("/bin/true", []string{"true"}, nil)
		if err != nil {
			t.Skip(err)
		}
		pids = append(pids, pid)
		unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
	if got := Measure(os.Getpid()).Processes - before; got != many {
		t.Errorf("%d of %d processes are counted", got, many)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"nginx", "sshd", "postgresql", "cron", "a"}
	for word, want := range map[string]string{
		"ngnix": "nginx", "nginxx": "nginx", "shsd": "sshd", "postgres": "postgresql", "corn": "cron",
		"completely": "", "": "a", "b": "a", "xy": "",
	} {
		if got := Nearest(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// FuzzFormat reads programs of any bytes.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{"#!/bin/sh\n", "#!", "\x7fELF\x02\x01", "#! /usr/bin/env -S x\r\n", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) { format("/nosuch", "run", head) })
}
