package child

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// way is how a child is made: what of the kernel's special means are used.
type way struct {
	clone3    bool // clone3, which also resets the signals that are caught
	vfork     bool // the child shares this process's memory until it is its program
	shares    bool // and its table of descriptors, until it parts with those that it needs
	range_    bool // it closes the descriptors that are not its own by close_range
	lead      bool // it leads a session
	newPID    bool // it is process 1 of a pid namespace
	inSession bool // it is in a session that an intermediate child leads
}

// refusal is a means of making children that the kernel, or whoever filters its
// calls, may not have.
type refusal int

// The refusals, the most special first: each has a plainer way in its place.
const (
	noClone3  refusal = iota // the old clone instead
	noShare                  // a copy of all descriptors
	noVfork                  // a copy of the memory: a plain fork
	noRange                  // descriptors are left open until the program is executed
	noParent                 // the child leads its session itself
	noSession                // it has none of its own
	refusals
)

// refused says what has been refused until now.
var refused [refusals]atomic.Bool

// bestWay is the way that nothing is known against.
func bestWay() way {
	w := way{range_: !refused[noRange].Load()}
	w.vfork = hasVfork && !refused[noVfork].Load()
	w.clone3 = w.vfork && !refused[noClone3].Load()
	w.shares = w.vfork && w.range_ && !refused[noShare].Load()
	return w
}

// refuse takes note that a step has failed and says whether there is a plainer way.
// Which errno a refusal has is up to who filters calls; those that tell of a want
// are no refusals.
func refuse(w way, failed childStep, err error) bool {
	if isShort(err) {
		return false
	}
	var no refusal
	switch failed {
	case stepMade:
		switch {
		case w.clone3:
			no = noClone3
		case w.shares:
			no = noShare
		case w.vfork:
			no = noVfork
		default:
			return false
		}
	case stepFork:
		switch {
		case w.clone3:
			no = noClone3
		case w.vfork:
			no = noVfork
		default:
			no = noParent
		}
	case stepPart:
		if no = noRange; w.shares {
			no = noShare
		}
	case stepSession:
		no = noSession
	default:
		return false
	}
	// An emulator makes a copy in the place of what shares memory. That is known before others
	// try the next way.
	if no == noClone3 && !memoryShared() {
		refused[noVfork].Store(true)
	}
	refused[no].Store(true)
	return true
}

// isShort says whether an error tells of a want.
func isShort(err error) bool {
	return err == unix.EAGAIN || err == unix.ENOMEM || err == unix.EMFILE || err == unix.ENFILE
}

// memoryShared says whether a child of the old clone writes into this process's
// memory, as its flags say: the errno of a call that fails.
func memoryShared() bool {
	if !hasVfork {
		return false
	}
	h := NewSlot()
	w := way{vfork: true}
	calls := []call{{number: unix.SYS_CLOSE, args: [6]uintptr{^uintptr(0)}, step: stepMade}}
	made := h.run(calls, w)
	if made.err == nil {
		collect(made.pid)
	}
	return made.err != nil || h.failed.errno != 0
}
