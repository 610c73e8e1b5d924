package sys

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestThrough: descriptors go by few paths, each to what it has open, also several at once,
// and nothing is held open by that.
func TestThrough(t *testing.T) {
	root := t.TempDir()
	var mu sync.Mutex
	paths := map[string]bool{}
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 50 {
				name := strconv.Itoa(worker) + "." + strconv.Itoa(i)
				if err := os.Mkdir(filepath.Join(root, name), 0o700); err != nil {
					t.Error(err)
				}
				fd, err := Open(unix.AT_FDCWD, filepath.Join(root, name), unix.O_PATH, 0)
				if err != nil {
					t.Error(err)
					return
				}
				defer unix.Close(fd) // so that each has a number of its own
				Through(fd, func(path string) {
					if to, err := os.Readlink(path); err != nil || filepath.Base(to) != name {
						t.Errorf("%s leads to %s: %v; want %s", path, to, err, name)
					}
					mu.Lock()
					defer mu.Unlock()
					paths[path] = true
				})
			}
		})
	}
	all.Wait()
	if len(paths) > 4 {
		t.Errorf("%d paths: %v", len(paths), slices.Collect(maps.Keys(paths)))
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	Through(p[1], func(string) {})
	unix.Close(p[1])
	if n, err := unix.Read(p[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the end of the pipe is not seen: %d, %v", n, err)
	}
}
