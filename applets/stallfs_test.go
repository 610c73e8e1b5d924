package applets

import (
	enc "encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stallfs DIR RULES mounts a file system at DIR that keeps its files in memory
// and answers what is asked of it, but for what RULES says: each line of that
// file is an operation (lookup, getattr, mkdir, open, read, access, ...: the
// keys of stallOps; or *) and a pattern for the path below DIR, as in
//
//	access web
//	lookup web/supervise/control
//	* *
//
// A third word is the number of an error, which an operation that matches gets
// at once. Another one that matches is not answered until the line is gone: who asked
// for it waits in the kernel and cannot be killed, as on a file server that is
// out of reach. Each that is held is told by a line in RULES.held. A change of
// directory is an access, what executes a program is open and read, and every
// path is looked up element by element. RULES.ready says that it is mounted; an
// end of stallfs ends all waits.
func stallfs(argv []string) int {
	if len(argv) != 2 {
		fmt.Fprintln(os.Stderr, "usage: stallfs DIR RULES")
		return 2
	}
	s := &stallServer{rules: argv[1], nodes: map[uint64]*stallNode{1: {id: 1, mode: unix.S_IFDIR | 0o755, names: map[string]uint64{}}}, last: 1}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err == nil {
		options := fmt.Sprintf("fd=%d,rootmode=40755,user_id=%d,group_id=%d,allow_other", fd, os.Geteuid(), os.Getegid())
		err = unix.Mount("stallfs", argv[0], "fuse.stallfs", unix.MS_NODEV, options)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stallfs:", err)
		return 1
	}
	s.fd = fd
	go func() { // the kernel asks for INIT before anybody can look
		var st unix.Statfs_t
		unix.Statfs(argv[0], &st)
		os.WriteFile(s.rules+".ready", nil, 0o644)
	}()
	if err := s.serve(); err != nil {
		fmt.Fprintln(os.Stderr, "stallfs:", err)
		return 1
	}
	return 0
}

// stallOps are the operations by their numbers in the protocol, linux/fuse.h.
var stallOps = map[string]uint32{
	"lookup": 1, "getattr": 3, "setattr": 4, "readlink": 5, "symlink": 6, "mknod": 8, "mkdir": 9, "unlink": 10,
	"rmdir": 11, "rename": 12, "link": 13, "open": 14, "read": 15, "write": 16, "statfs": 17, "release": 18,
	"fsync": 20, "flush": 25, "opendir": 27, "readdir": 28, "releasedir": 29, "fsyncdir": 30, "access": 34, "create": 35, "rename2": 45,
}

// What is answered at once and never held.
const (
	stallForget  = 2
	stallInit    = 26
	stallBreak   = 36 // INTERRUPT: who waits goes on waiting
	stallForget2 = 42
)

// stallNode is a file.
type stallNode struct {
	id, parent          uint64
	name                string
	mode, nlink         uint32
	uid, gid, rdev      uint32
	data                []byte // or where a link leads
	names               map[string]uint64
	atime, mtime, ctime time.Time
}

// stallServer answers the kernel. It has one goroutine, and whatever is held
// waits in a list.
type stallServer struct {
	fd    int
	rules string
	lines [][]string // what rules says
	text  string     // the same
	nodes map[uint64]*stallNode
	last  uint64
	held  [][]byte
}

// serve reads requests until the file system is unmounted.
func (s *stallServer) serve() error {
	buf := make([]byte, 1<<20)
	for {
		n, err := unix.Read(s.fd, buf)
		changed := s.readRules()
		switch {
		case err == nil:
			if req := slices.Clone(buf[:n]); s.holds(req) {
				s.held = append(s.held, req)
				s.tellHeld(req)
			} else {
				s.answer(req)
			}
		case errors.Is(err, unix.EAGAIN):
			unix.Poll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, 10)
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.ENODEV):
			return nil
		default:
			return err
		}
		if !changed {
			continue
		}
		s.held = slices.DeleteFunc(s.held, func(req []byte) bool {
			if s.holds(req) {
				return false
			}
			s.answer(req)
			return true
		})
	}
}

// stallHeader is how long a request's header is: length, operation, number,
// node, uid, gid, pid.
const stallHeader = 40

func (s *stallServer) holds(req []byte) bool { return len(s.rule(req)) == 2 }

// fails is the error that a request is to get, if any.
func (s *stallServer) fails(req []byte) error {
	if f := s.rule(req); len(f) == 3 {
		no, _ := strconv.Atoi(f[2])
		return unix.Errno(no)
	}
	return nil
}

// readRules reads the rules and says whether they are others than before.
func (s *stallServer) readRules() bool {
	b, _ := os.ReadFile(s.rules)
	if text := string(b); text != s.text {
		s.text, s.lines = text, nil
		for line := range strings.Lines(text) {
			if f := strings.Fields(line); len(f) >= 2 {
				s.lines = append(s.lines, f)
			}
		}
		return true
	}
	return false
}

// rule is the first rule that a request matches, word by word.
func (s *stallServer) rule(req []byte) []string {
	op := enc.NativeEndian.Uint32(req[4:])
	if op == stallInit || op == stallForget || op == stallForget2 || op == stallBreak || len(s.lines) == 0 {
		return nil
	}
	name := s.pathOf(req)
	for _, f := range s.lines {
		if match, _ := path.Match(f[1], name); f[1] == "*" || match {
			if f[0] == "*" || stallOps[f[0]] == op {
				return f
			}
		}
	}
	return nil
}

func (s *stallServer) tellHeld(req []byte) {
	op := enc.NativeEndian.Uint32(req[4:])
	word := strconv.Itoa(int(op))
	for name, number := range stallOps {
		if number == op {
			word = name
		}
	}
	if f, err := os.OpenFile(s.rules+".held", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil {
		fmt.Fprintf(f, "%s %s\n", word, s.pathOf(req))
		f.Close()
	}
}

// pathOf is what a request is about, below the mount.
func (s *stallServer) pathOf(req []byte) string {
	name := ""
	if skip, named := stallNamed(req); named {
		name = stallString(req[stallHeader+skip:])
	}
	for n := s.nodes[enc.NativeEndian.Uint64(req[16:])]; n != nil && n.id != 1; n = s.nodes[n.parent] {
		name = path.Join(n.name, name)
	}
	return name
}

// stallNamed says whether a request names an entry of its node, and what is
// before the name.
func stallNamed(req []byte) (skip int, named bool) {
	switch enc.NativeEndian.Uint32(req[4:]) {
	case 1, 6, 10, 11: // lookup, symlink, unlink, rmdir
		return 0, true
	case 9, 12, 13: // mkdir, rename, link
		return 8, true
	case 8, 35, 45: // mknod, create, rename2
		return 16, true
	}
	return 0, false
}

func stallString(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	return s
}

// answer does what a request asks for and tells how that went.
func (s *stallServer) answer(req []byte) {
	op := enc.NativeEndian.Uint32(req[4:])
	if op == stallForget || op == stallForget2 || op == stallBreak {
		return
	}
	err, out := s.fails(req), []byte(nil)
	if err == nil {
		out, err = s.do(op, enc.NativeEndian.Uint64(req[16:]), req)
	}
	no, _ := err.(unix.Errno)
	if err != nil {
		out = nil
	}
	b := enc.NativeEndian.AppendUint32(nil, uint32(16+len(out)))
	b = enc.NativeEndian.AppendUint32(b, uint32(-int32(no)))
	b = append(b, req[8:16]...)
	unix.Write(s.fd, append(b, out...))
}

// do is one operation; the layouts are those of linux/fuse.h.
func (s *stallServer) do(op uint32, node uint64, req []byte) (out []byte, err error) {
	in := req[stallHeader:]
	u32 := func(at int) uint32 { return enc.NativeEndian.Uint32(in[at:]) }
	u64 := func(at int) uint64 { return enc.NativeEndian.Uint64(in[at:]) }
	name := ""
	if skip, named := stallNamed(req); named {
		name = stallString(in[skip:])
	}
	n := s.nodes[node]
	if n == nil {
		if op == stallInit {
			out = make([]byte, 64) // version 7.31, no flags, writes of up to 128 KiB
			enc.NativeEndian.PutUint32(out[0:], 7)
			enc.NativeEndian.PutUint32(out[4:], 31)
			enc.NativeEndian.PutUint32(out[20:], 128<<10)
			enc.NativeEndian.PutUint32(out[24:], 1) // times in nanoseconds
			return out, nil
		}
		return nil, unix.ENOENT
	}
	switch op {
	case 1: // lookup
		id, ok := n.names[name]
		if !ok {
			return nil, unix.ENOENT
		}
		return s.entry(s.nodes[id]), nil
	case 3: // getattr
		return s.attrOut(n), nil
	case 4: // setattr
		s.setattr(n, u32(0), in)
		return s.attrOut(n), nil
	case 5: // readlink
		return n.data, nil
	case 6: // symlink
		target := stallString(in[len(name)+1:])
		return s.add(n, name, req, unix.S_IFLNK|0o777, 0, []byte(target))
	case 8: // mknod
		return s.add(n, name, req, u32(0), u32(4), nil)
	case 9: // mkdir
		return s.add(n, name, req, unix.S_IFDIR|u32(0), 0, nil)
	case 10, 11: // unlink, rmdir
		return nil, s.remove(n, name, op == 11)
	case 12, 45: // rename, rename2
		skip := 8
		if op == 45 {
			skip = 16
			if u32(8) != 0 {
				return nil, unix.EINVAL
			}
		}
		return nil, s.rename(n, name, s.nodes[u64(0)], stallString(in[skip+len(name)+1:]))
	case 14, 27: // open, opendir
		if op == 14 && u32(0)&unix.O_TRUNC != 0 {
			n.data = nil
		}
		return make([]byte, 16), nil
	case 15: // read
		from := min(u64(8), uint64(len(n.data)))
		return n.data[from:min(from+uint64(u32(16)), uint64(len(n.data)))], nil
	case 16: // write
		from, size := u64(8), uint64(u32(16))
		if end := from + size; end > uint64(len(n.data)) {
			n.data = append(n.data, make([]byte, end-uint64(len(n.data)))...)
		}
		copy(n.data[from:], in[40:40+size])
		n.mtime, n.ctime = time.Now(), time.Now()
		return enc.NativeEndian.AppendUint64(nil, size), nil
	case 17: // statfs
		out = make([]byte, 80)
		enc.NativeEndian.PutUint64(out[0:], 1<<20)
		enc.NativeEndian.PutUint64(out[8:], 1<<20)
		enc.NativeEndian.PutUint64(out[16:], 1<<20)
		enc.NativeEndian.PutUint32(out[40:], 4096)
		enc.NativeEndian.PutUint32(out[44:], 255)
		enc.NativeEndian.PutUint32(out[48:], 4096)
		return out, nil
	case 28: // readdir
		return s.list(n, u64(8), int(u32(16))), nil
	case 18, 20, 29, 30, 34: // release, fsync, releasedir, fsyncdir, access
		return nil, nil
	case 35: // create
		out, err := s.add(n, name, req, unix.S_IFREG|u32(4)&^unix.S_IFMT, 0, nil)
		return append(out, make([]byte, 16)...), err
	}
	return nil, unix.ENOSYS
}

// add makes an entry of dir.
func (s *stallServer) add(dir *stallNode, name string, req []byte, mode, rdev uint32, data []byte) ([]byte, error) {
	if _, ok := dir.names[name]; ok {
		return nil, unix.EEXIST
	}
	s.last++
	now := time.Now()
	n := &stallNode{
		id: s.last, parent: dir.id, name: name, mode: mode, nlink: 1, rdev: rdev, data: data, names: map[string]uint64{},
		uid: enc.NativeEndian.Uint32(req[24:]), gid: enc.NativeEndian.Uint32(req[28:]), atime: now, mtime: now, ctime: now,
	}
	s.nodes[n.id], dir.names[name] = n, n.id
	dir.mtime, dir.ctime = now, now
	return s.entry(n), nil
}

func (s *stallServer) remove(dir *stallNode, name string, rmdir bool) error {
	id, ok := dir.names[name]
	switch {
	case !ok:
		return unix.ENOENT
	case rmdir && len(s.nodes[id].names) > 0:
		return unix.ENOTEMPTY
	}
	delete(dir.names, name)
	s.nodes[id].nlink = 0 // it stays for who has it open
	dir.mtime, dir.ctime = time.Now(), time.Now()
	return nil
}

func (s *stallServer) rename(from *stallNode, name string, to *stallNode, next string) error {
	id, ok := from.names[name]
	if !ok || to == nil {
		return unix.ENOENT
	}
	if old, ok := to.names[next]; ok && old != id {
		if len(s.nodes[old].names) > 0 {
			return unix.ENOTEMPTY
		}
		s.nodes[old].nlink = 0
	}
	delete(from.names, name)
	to.names[next] = id
	s.nodes[id].parent, s.nodes[id].name = to.id, next
	now := time.Now()
	from.mtime, from.ctime, to.mtime, to.ctime = now, now, now, now
	return nil
}

// setattr changes what valid says: mode, uid, gid, size, times.
func (s *stallServer) setattr(n *stallNode, valid uint32, in []byte) {
	u32 := func(at int) uint32 { return enc.NativeEndian.Uint32(in[at:]) }
	if valid&1 != 0 {
		n.mode = n.mode&unix.S_IFMT | u32(68)&^unix.S_IFMT
	}
	if valid&2 != 0 {
		n.uid = u32(76)
	}
	if valid&4 != 0 {
		n.gid = u32(80)
	}
	if valid&8 != 0 {
		size := int(enc.NativeEndian.Uint64(in[16:]))
		n.data = append(n.data, make([]byte, max(0, size-len(n.data)))...)[:size]
	}
	if valid&32 != 0 {
		n.mtime = time.Unix(int64(enc.NativeEndian.Uint64(in[40:])), int64(u32(60)))
	}
	n.ctime = time.Now()
}

// entry is struct fuse_entry_out; nothing of it may be kept, so that everything
// is asked again.
func (s *stallServer) entry(n *stallNode) []byte {
	b := enc.NativeEndian.AppendUint64(nil, n.id)
	return append(append(b, make([]byte, 32)...), n.attr()...)
}

func (s *stallServer) attrOut(n *stallNode) []byte { return append(make([]byte, 16), n.attr()...) }

// attr is struct fuse_attr.
func (n *stallNode) attr() (b []byte) {
	for _, v := range []uint64{n.id, uint64(len(n.data)), uint64(len(n.data)+511) / 512, uint64(n.atime.Unix()), uint64(n.mtime.Unix()), uint64(n.ctime.Unix())} {
		b = enc.NativeEndian.AppendUint64(b, v)
	}
	for _, v := range []uint32{uint32(n.atime.Nanosecond()), uint32(n.mtime.Nanosecond()), uint32(n.ctime.Nanosecond()), n.mode, n.nlink, n.uid, n.gid, n.rdev, 4096, 0} {
		b = enc.NativeEndian.AppendUint32(b, v)
	}
	return b
}

// list is entries of a directory from the given place on, each a struct
// fuse_dirent and its name.
func (s *stallServer) list(n *stallNode, from uint64, size int) (b []byte) {
	names := []string{".", ".."}
	for name := range n.names {
		names = append(names, name)
	}
	slices.Sort(names[2:])
	for i := int(from); i < len(names); i++ {
		id, mode := n.id, n.mode
		if i > 1 {
			id = n.names[names[i]]
			mode = s.nodes[id].mode
		}
		e := enc.NativeEndian.AppendUint64(enc.NativeEndian.AppendUint64(nil, id), uint64(i+1))
		e = enc.NativeEndian.AppendUint32(enc.NativeEndian.AppendUint32(e, uint32(len(names[i]))), mode>>12)
		e = append(e, names[i]...)
		e = append(e, make([]byte, (8-len(e)%8)%8)...)
		if len(b)+len(e) > size {
			break
		}
		b = append(b, e...)
	}
	return b
}

// needFuse skips where no file system of a process's own can be mounted.
func needFuse(t *testing.T) {
	t.Helper()
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		skip(t, "needs /dev/fuse")
	}
	f.Close()
}

// TestStallfs checks the means of other tests: it is a file system like another,
// and what is to be held up is held up.
func TestStallfs(t *testing.T) {
	needFuse(t)
	bin, err := links()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "script")
	text := `mkdir m
stallfs m rules & F=$!
eventually test -e rules.ready
mkdir m/d
printf '#!/bin/sh\necho here; cat <fifo\n' >m/d/run
chmod +x m/d/run
mkfifo m/d/fifo
ln -s d m/l
(cd m/l && echo through >fifo) &
test "$(cd m/l && ./run)" = "$(printf 'here\nthrough')"
mv m/d m/e; test -e m/e/run; not test -e m/d
test "$(echo $(ls m))" = 'e l'
flock m/e/run true
(set +x; i=0; while [ $i -lt 200 ]; do echo $i >m/e/$i; i=$((i+1)); done)
test $(ls m/e | wc -l) = 202
echo 'access e' >rules
sh -c 'cd m/e && touch ../../entered' & C=$!
eventually grep -q 'access e' rules.held
cat m/e/7 # others are served
kill -9 $C
eventually grep -q State:.D /proc/$C/status
not test -e entered
: >rules
wait $C || true
echo 'mkdir *' >rules
mkdir m/new & C=$!
eventually grep -q 'mkdir new' rules.held
kill -9 $F; wait $F || true
wait $C || true
umount -l m
`
	if err := writeFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	script(t, file, bin)
}
