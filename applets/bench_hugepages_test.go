//go:build bench

package applets

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// hugePages is where the kernel's setting is.
const hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"

// TestBenchHugePages says how the machine makes pages huge, and measures memory and
// svlogd's throughput so and, as root, where it always does.
func TestBenchHugePages(t *testing.T) {
	text, err := os.ReadFile(hugePages)
	if err != nil {
		t.Skip(err)
	}
	_, setting, _ := strings.Cut(string(text), "[")
	setting, _, _ = strings.Cut(setting, "]")
	t.Logf("transparent huge pages: %s", setting)
	rows := [][]string{{"transparent huge pages", "supervisors of 20", "svlogd, lines of 100"}}
	c := contenders(t)["runitbox"]
	measure := func(now string) {
		var memory, rate float64
		t.Run(now, func(t *testing.T) {
			tr := plant(t, c, 20)
			time.Sleep(5 * time.Second)
			_, supervisors := tr.parts()
			comeToRest(t, supervisors)
			memory = float64(private(t, supervisors)) / 1024
			dir, err := os.MkdirTemp("/dev/shm", "bench")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.WriteFile(filepath.Join(dir, "config"), []byte("s16000000\nn4\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			data := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 48<<20/100))
			rate = feed(t, exec.Command(built(t), "svlogd", dir), data).rate
		})
		rows = append(rows, []string{now, fmt.Sprintf("%.0f KiB", memory), fmt.Sprintf("%.0f MB/s", rate)})
	}
	measure(setting)
	if setting != "always" {
		if err := os.WriteFile(hugePages, []byte("always"), 0); err != nil {
			t.Logf("not measured with always: %v", err)
		} else {
			defer os.WriteFile(hugePages, []byte(setting), 0)
			measure("always")
		}
	}
	table(t, "huge pages", rows)
}
