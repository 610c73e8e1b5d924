package sys

import (
	"bytes"
	"encoding/binary"
	"iter"

	"golang.org/x/sys/unix"
)

// InotifyEvent is one event of inotify(7). Name is empty where it is about what is
// watched itself.
type InotifyEvent struct {
	Watch int32
	Mask  uint32
	Name  []byte
}

// InotifyEvents are the events in b, which read(2) of an inotify descriptor has given.
func InotifyEvents(b []byte) iter.Seq[InotifyEvent] {
	return func(yield func(InotifyEvent) bool) {
		for len(b) >= unix.SizeofInotifyEvent {
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			ev := InotifyEvent{
				Watch: int32(binary.NativeEndian.Uint32(b)),
				Mask:  binary.NativeEndian.Uint32(b[4:]),
				Name:  bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00"),
			}
			if !yield(ev) {
				return
			}
			b = b[end:]
		}
	}
}
