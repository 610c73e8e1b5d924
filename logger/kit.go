package logger

import (
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// kit is what an engine needs while it is at work: room for a batch, and a pipe
// that its input is copied to. Engines borrow it; between two turns nothing of
// theirs is in it. Its memory is not Go's: what is not used of it is not there,
// and it is given back at once.
type kit struct {
	mem    []byte
	size   int    // of a batch
	errs   []byte // lines for stderr
	packet []byte // a line for the network
	r, w   int    // the pipe
	full   bool   // much of the memory has been used, and not been given back since
}

// keptKits is how many kits a host keeps when nobody needs them.
const keptKits = 2

// scanSize is the room for directory entries that are read at once.
const scanSize = 4 << 10

// newKit makes a kit for batches of so many bytes.
func newKit(size int) (*kit, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	mem, err := unix.Mmap(-1, 0, scanSize+size+size+size/2, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, fmt.Errorf("get memory: %w", err)
	}
	unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, max(pipeSize, size)) // a smaller one takes less at once
	return &kit{mem: mem, size: size, r: p[0], w: p[1]}, nil
}

// close gives a kit's memory and pipe back.
func (k *kit) close() {
	unix.Munmap(k.mem)
	unix.Close(k.r)
	unix.Close(k.w)
}

// borrow is a kit that somebody has given back, or nil.
func (h *Host) borrow() *kit {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.kits)
	if n == 0 {
		return nil
	}
	k := h.kits[n-1]
	h.kits = h.kits[:n-1]
	return k
}

// kitRest is after what time the memory of kits that nobody needs is given back.
const kitRest = time.Second

// giveBack takes a kit back.
func (h *Host) giveBack(k *kit) {
	if k == nil {
		return
	}
	h.mu.Lock()
	keep := len(h.kits) < keptKits && k.size == batchSize
	if keep {
		h.kits = append(h.kits, k)
		if k.full && !h.emptying {
			h.emptying = true
			time.AfterFunc(kitRest, h.emptyKits)
		}
	}
	h.mu.Unlock()
	if !keep {
		k.close()
	}
}

// emptyKits gives the memory of kits back that nobody has.
func (h *Host) emptyKits() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.emptying = false
	for _, k := range h.kits {
		if k.full {
			k.full = false
			unix.Madvise(k.mem, unix.MADV_DONTNEED)
		}
	}
}

// spareKit sees to it that there is a kit for who comes first: whoever has none may
// have to wait for one.
func (h *Host) spareKit(size int) error {
	h.mu.Lock()
	enough := len(h.kits) > 0 || len(h.engines) > 0
	h.mu.Unlock()
	if enough {
		return nil
	}
	k, err := newKit(max(size, batchSize))
	if err != nil {
		return err
	}
	h.giveBack(k)
	return nil
}

// scan is room for directory entries.
func (k *kit) scan() []byte { return k.mem[:scanSize] }
