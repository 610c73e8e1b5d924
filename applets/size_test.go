package applets

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

// TestSize: the executable is small, as it is and in an initramfs, and the one without
// what is embedded is smaller.
func TestSize(t *testing.T) {
	t.Parallel()
	if runtime.GOARCH != "amd64" {
		return // the sizes are those of amd64
	}
	for _, tt := range []struct {
		name         string
		build        func() (string, error)
		most, packed int
	}{
		{"whole", binary, 4_600_000, 1_600_000},
		{"slim", slim, 3_500_000, 1_300_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			exe, err := tt.build()
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(exe)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > int64(tt.most) {
				t.Errorf("the executable has %d bytes, want at most %d", info.Size(), tt.most)
			}
			if _, err := exec.LookPath("xz"); err != nil {
				skip(t, "needs xz")
			}
			packed, err := exec.Command("xz", "-9", "--check=crc32", "--stdout", exe).Output() // as the kernel unpacks it
			if err != nil {
				t.Fatal(err)
			}
			if len(packed) > tt.packed {
				t.Errorf("compressed it has %d bytes, want at most %d", len(packed), tt.packed)
			}
			t.Logf("%d bytes, %d compressed", info.Size(), len(packed))
		})
	}
}

// TestTrace: a trace tells the lines of the suite, but not those of Go's own packages, for
// which the executable would have to be larger.
func TestTrace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	// The shell's own kill: a minimal Debian has no other, and without one this would not end.
	if err := writeFile(filepath.Join(dir, "run"), []byte("#!/bin/sh\nkill -ABRT $PPID\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var trace bytes.Buffer
	runsv := &exec.Cmd{Path: built(t), Args: []string{"runsv", dir}, Stderr: &trace}
	if err := runsv.Run(); err == nil {
		t.Error("runsv has not noticed SIGABRT")
	}
	for _, want := range []string{`\nmain\.main\(\)\n\t\S+/main\.go:11 `, `\nruntime\.main\(\)\n\tgo:1 `} {
		if !regexp.MustCompile(want).Match(trace.Bytes()) {
			t.Errorf("the trace has no %s:\n%s", want, trace.Bytes())
		}
	}
}
