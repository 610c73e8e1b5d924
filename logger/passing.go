package logger

import (
	"errors"

	"golang.org/x/sys/unix"
)

// passing says of an error that it tells nothing of what was asked for: the
// system or the process was short of something, and the same may succeed soon.
func passing(err error) bool {
	for _, want := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS, unix.ENOLCK, unix.EINTR} {
		if errors.Is(err, want) {
			return true
		}
	}
	return false
}
