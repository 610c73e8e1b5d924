package scanner

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// alarm rings once when its time has come. It is a timerfd(2), since a timer of
// Go's makes an idle process busy: the runtime waits for it in epoll_wait(2),
// which may be late by a thousandth, 60 ms of a minute, while its monitor wakes
// in time and then naps, for 20 µs first, until somebody has seen to the timer.
type alarm struct {
	rings chan struct{} // of one; may ring once more for a time that was changed
	fd    int
	timer *time.Timer // where there is no timerfd
}

func newAlarm() *alarm {
	a := &alarm{rings: make(chan struct{}, 1)}
	var err error
	if a.fd, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		a.timer = time.AfterFunc(time.Hour, a.ring)
		return a
	}
	f := os.NewFile(uintptr(a.fd), "timerfd")
	go func() {
		var times [8]byte
		for {
			if _, err := f.Read(times[:]); err != nil {
				return
			}
			a.ring()
		}
	}()
	return a
}

func (a *alarm) ring() {
	select {
	case a.rings <- struct{}{}:
	default:
	}
}

// set has it ring in d, which is more than none, and not before.
func (a *alarm) set(d time.Duration) {
	if a.timer != nil {
		a.timer.Reset(d)
		return
	}
	unix.TimerfdSettime(a.fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}, nil)
}
