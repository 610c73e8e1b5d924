package scanner

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/supervise/sys"
)

// Ring is the log in runsvdir's own arguments, as readproctitle(8) of
// daemontools introduced it: what comes over the pipe shifts through the
// argument from the right, so that ps shows the newest messages of a tree. Its
// first five bytes stay.
type Ring struct {
	mu  sync.Mutex
	mem []byte // the argument's memory from byte 5 on
	r   int    // read end

	quiet atomic.Bool // standard error leads elsewhere meanwhile
}

// ringKept is how much of the argument stays, and ringMin how long it must be.
const (
	ringKept = 5
	ringMin  = 7
)

// errRing are the reasons not to have a log, as runsvdir words them.
var (
	errRingShort = errors.New("log must have at least seven characters.")
	errRingPipe  = errors.New("unable to create pipe for log.")
	errRingFD    = errors.New("unable to set filedescriptor for log.")
)

// newRing makes arg, which must be one of os.Args, the log of what is written
// to stderr from here on, by this process and all below it.
func newRing(arg string) (*Ring, error) {
	if len(arg) < ringMin {
		return nil, errRingShort
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, errRingPipe
	}
	w := sys.Lasting(p[1])
	defer unix.Close(w)
	if err := unix.Dup3(w, 2, 0); err != nil {
		unix.Close(p[0])
		return nil, errRingFD
	}
	return ringOf(arg, p[0]), nil
}

// ringOf is a ring over the pipe's read end r.
func ringOf(arg string, r int) *Ring {
	// The bytes of os.Args are the process's argument memory itself, which is
	// writable, and which ps reads.
	mem := unsafe.Slice(unsafe.StringData(arg), len(arg))
	return &Ring{mem: mem[ringKept:], r: r}
}

// run reads the pipe for ever. Every 900 seconds a dot goes into it, the first
// at once, so that old messages scroll out. Only this end of the pipe is ever
// waited for: who writes to it may block, but loses nothing.
func (g *Ring) run() {
	var dot func()
	dot = func() {
		if !g.quiet.Load() {
			unix.Write(2, []byte{'.'})
		}
		time.AfterFunc(900*time.Second, dot)
	}
	go dot()
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(g.r, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return
		}
		g.add(buf[:n])
	}
}

// setQuiet says whether standard error leads elsewhere.
func (g *Ring) setQuiet(quiet bool) {
	if g != nil {
		g.quiet.Store(quiet)
	}
}

// add shifts b in; NUL would end the argument and is dropped.
func (g *Ring) add(b []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	kept := b[:0]
	for _, c := range b {
		if c != 0 {
			kept = append(kept, c)
		}
	}
	if len(kept) > len(g.mem) {
		kept = kept[len(kept)-len(g.mem):]
	}
	copy(g.mem, g.mem[len(kept):])
	copy(g.mem[len(g.mem)-len(kept):], kept)
}
