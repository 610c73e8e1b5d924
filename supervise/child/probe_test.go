package child

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What a probe asks for its child does: with none of this process's descriptors, also
// where the kernel cannot close many at once, or shares no memory.
func TestChildProbe(t *testing.T) {
	defer func() {
		for i := range refused {
			refused[i].Store(false)
		}
	}()
	for _, refuse := range [][]refusal{nil, {noShare}, {noRange}, {noVfork}, {noVfork, noRange}} {
		for i := range refused {
			refused[i].Store(false)
		}
		for _, no := range refuse {
			refused[no].Store(true)
		}
		dir := t.TempDir()
		path := filepath.Join(dir, "file")
		p := Probe{At: unix.AT_FDCWD}
		p.Write(path, "text").Run() // to descriptor 0
		if b, err := os.ReadFile(path); err != nil || string(b) != "text" {
			t.Errorf("refused %v: wrote %q, %v", refuse, b, err)
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		q := Probe{At: int(f.Fd())}
		q.Stat("file", "none").Access("file").Readlink("file").Open("none")
		q.add(unix.SYS_UNLINKAT, uintptr(q.At), q.text("file")) // relative to the directory
		q.Run()
		f.Close()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("refused %v: at a directory nothing was done: %v", refuse, err)
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|waitSilent, nil); err != unix.ECHILD {
			t.Errorf("refused %v: a child is left: %d, %v", refuse, pid, err)
		}
	}
}
