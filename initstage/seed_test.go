package initstage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestReseed(t *testing.T) {
	type files = map[string]string
	refused := errors.New("refused")
	for _, tt := range []struct {
		name       string
		before     files
		credit     bool
		good       bool // the pool is ready when a seed is drawn
		add, draw  error
		added      []string // with + what counts
		after      files
		wantFailed error
	}{
		{"the first boot", nil, true, true, nil, nil, nil, files{"seed.credit": "new!"}, nil},
		{"the first boot, too early", nil, true, false, nil, nil, nil, files{"seed.no-credit": "new!"}, nil},
		{"a boot", files{"seed.credit": "good"}, true, true, nil, nil, []string{"+good"}, files{"seed.credit": "new!"}, nil},
		{"nothing is to count", files{"seed.credit": "good"}, false, true, nil, nil, []string{"good"}, files{"seed.credit": "new!"}, nil},
		{"a seed that does not count", files{"seed.no-credit": "poor"}, true, true, nil, nil, []string{"poor"}, files{"seed.credit": "new!"}, nil},
		{"both", files{"seed.credit": "good", "seed.no-credit": "poor"}, true, true, nil, nil, []string{"poor", "+good"}, files{"seed.credit": "new!"}, nil},
		{"what was poor stays in what is poor", files{"seed.no-credit": "\x01\x00"}, true, false, nil, nil, []string{"\x01\x00"}, files{"seed.no-credit": "oev!"}, nil},
		{"an empty file", files{"seed.credit": ""}, true, true, nil, nil, nil, files{"seed.credit": "new!"}, nil},
		{"it cannot be given", files{"seed.credit": "good"}, true, true, refused, nil, []string{"+good"}, files{"seed.credit": "new!"}, refused},
		{"none can be drawn", files{"seed.credit": "good"}, true, true, nil, refused, []string{"+good"}, files{}, refused},
	} {
		dir := filepath.Join(t.TempDir(), "lib", "seedrng")
		for name, text := range tt.before {
			if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o400)); err != nil {
				t.Fatal(err)
			}
		}
		var added []string
		err := Reseed(dir, 4, tt.credit, Pool{
			func(seed []byte, credit bool) error {
				if entries, _ := filepath.Glob(filepath.Join(dir, creditName)); credit && len(entries) > 0 {
					t.Errorf("%s: the seed is used and still there", tt.name)
				}
				text := string(seed)
				if credit {
					text = "+" + text
				}
				added = append(added, text)
				return tt.add
			},
			func(size int) ([]byte, bool, error) { return []byte("new!")[:size], tt.good, tt.draw },
		})
		if !errors.Is(err, tt.wantFailed) {
			t.Errorf("%s: %v", tt.name, err)
		}
		after := files{}
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			text, _ := os.ReadFile(filepath.Join(dir, e.Name()))
			after[e.Name()] = string(text)
		}
		if diff := cmp.Diff(tt.after, after); diff != "" {
			t.Errorf("%s: files (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.added, added); diff != "" {
			t.Errorf("%s: given (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestKernelPool: the kernel has a seed of any size, and takes it where one may
// give it.
func TestKernelPool(t *testing.T) {
	seed, good, err := KernelPool.Draw(SeedSize())
	if err != nil || !good || bytes.Equal(seed, make([]byte, len(seed))) {
		t.Errorf("%x, %t, %v", seed, good, err)
	}
	if err := KernelPool.Add(seed, false); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EACCES) {
		t.Error(err)
	}
}
