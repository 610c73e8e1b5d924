package mounts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"runitbox/supervise/servicedir"
)

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
	f, err := servicedir.Identify(unix.AT_FDCWD, dir, 0)
	if err != nil || f.Mount == 0 {
		skip(t, "the kernel does not tell mounts")
	}
	other := Table{remote: map[uint64]bool{1 << 40: true}}
	this := Table{remote: map[uint64]bool{f.Mount: true}}
	for _, path := range []string{dir, dir + "/link", dir + "/link/link"} {
		os.Stat(path) // so that the kernel has it in memory
		if (Table{}).MayHang(unix.AT_FDCWD, path) || other.MayHang(unix.AT_FDCWD, path) {
			t.Errorf("%s: may hang, though it is on another mount", path)
		}
		if !this.MayHang(unix.AT_FDCWD, path) {
			t.Errorf("%s: may not hang, though its mount is a server's", path)
		}
	}
}

// TestIsAway: what the kernel does not have in memory, or what is not there, is with a server
// where its directory is.
func TestIsAway(t *testing.T) {
	dir := t.TempDir()
	f, err := servicedir.Identify(unix.AT_FDCWD, dir, 0)
	if err != nil || f.Mount == 0 {
		skip(t, "the kernel does not tell mounts")
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	other := Table{remote: map[uint64]bool{1 << 40: true}}
	this := Table{remote: map[uint64]bool{f.Mount: true}}
	for _, path := range []string{dir, dir + "/absent", dir + "/also/absent", dir + "/link", dir + "/link/absent"} {
		for range 2 { // the second time the kernel has it in memory, as it has to have a link
			if strings.Contains(path, "link") {
				os.Stat(path)
			}
			if (Table{}).IsAway(path) || other.IsAway(path) {
				t.Errorf("%s: it is away, though on another mount", path)
			}
			if !this.IsAway(path) {
				t.Errorf("%s: it is not away, though its mount is a server's", path)
			}
		}
	}
	if !other.IsAway(dir+"/never/../never") || !other.IsAway("relative") {
		t.Error("a way that is not told whole is not away")
	}
}
