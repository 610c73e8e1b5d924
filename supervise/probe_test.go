package supervise

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
		p := probe{at: unix.AT_FDCWD}
		p.write(path, "text").run() // to descriptor 0
		if b, err := os.ReadFile(path); err != nil || string(b) != "text" {
			t.Errorf("refused %v: wrote %q, %v", refuse, b, err)
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		q := probe{at: int(f.Fd())}
		q.stat("file", "none").access("file").readlink("file").open("none")
		q.add(unix.SYS_UNLINKAT, uintptr(q.at), q.text("file")) // relative to the directory
		q.run()
		f.Close()
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("refused %v: at a directory nothing was done: %v", refuse, err)
		}
		if pid, err := unix.Wait4(-1, nil, unix.WNOHANG|waitSilent, nil); err != unix.ECHILD {
			t.Errorf("refused %v: a child is left: %d, %v", refuse, pid, err)
		}
	}
}

func TestIsRemote(t *testing.T) {
	for typ, want := range map[string]bool{
		"fuse": true, "fuse.sshfs": true, "fuseblk": true, "nfs": true, "nfs4": true, "9p": true, "virtiofs": true, "cifs": true,
		"fusectl": false, "ext4": false, "overlay": false, "proc": false, "": false, "nfsd": false,
	} {
		if got := isRemote(typ); got != want {
			t.Errorf("%s: %t, want %t", typ, got, want)
		}
	}
}

func TestMayHang(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f, err := identify(unix.AT_FDCWD, dir, 0)
	if err != nil || f.mount == 0 {
		t.Skip("the kernel does not tell mounts")
	}
	other := mounts{remote: map[uint64]bool{1 << 40: true}}
	this := mounts{remote: map[uint64]bool{f.mount: true}}
	for _, path := range []string{dir, dir + "/link", dir + "/link/link"} {
		os.Stat(path) // so that the kernel has it in memory
		if (mounts{}).mayHang(unix.AT_FDCWD, path) || other.mayHang(unix.AT_FDCWD, path) {
			t.Errorf("%s: may hang, though it is on another mount", path)
		}
		if !this.mayHang(unix.AT_FDCWD, path) {
			t.Errorf("%s: may not hang, though its mount is a server's", path)
		}
	}
}
