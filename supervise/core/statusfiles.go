package core

import (
	"errors"
	"strconv"

	"golang.org/x/sys/unix"

	"runitbox/supervise/state"
)

// write brings pid, stat and status up to date, later where that fails now.
func (u *unit) write() {
	u.writeEnd()
	u.stale = false
	if !u.svc.published {
		return
	}
	err := u.update()
	if u.unwritten = err != nil; u.unwritten {
		u.svc.warnOnDeleted(err)
		u.svc.repairLater()
	}
}

// writeSoon has the status files written that were put off, when nothing more urgent is
// to be done. Where a whole tree is told to exit each process is so told before files are
// written for any, and most have ended by then: what has happened is written once.
func (s *service) writeSoon() {
	for _, u := range s.units() {
		if u.stale {
			s.core.pool.runOpen(func(*worker) { s.post(event{kind: evWrite}) })
			return
		}
	}
}

// writeStale writes the status files that are still to be written.
func (s *service) writeStale() {
	for _, u := range s.units() {
		if u.stale {
			u.write()
		}
	}
}

// update is one try of write. What has not changed is not written, and a failure
// of one leaves out those after it, as with runsv.
func (u *unit) update() error {
	r := state.Record{Since: u.since, PID: u.pid, Paused: u.st.Paused, Want: u.st.Want, Termed: u.st.Termed, State: u.st.Phase.State()}
	w := &u.written
	d := u.svc.dir
	if !w.any || w.pid != r.PID {
		content := ""
		if r.PID != 0 {
			content = strconv.Itoa(r.PID) + "\n"
		}
		if _, err := d.Replace(u.prefix, "pid", []byte(content), w.any); err != nil {
			return err
		}
		w.pid = r.PID
	}
	var failed error
	if text := r.Text(); !w.any || w.stat != text {
		opened, err := d.Replace(u.prefix, "stat", []byte(text), w.any)
		if err != nil && !opened {
			return err
		}
		if failed = err; err == nil {
			w.stat = text
		}
	}
	if b := [state.StatusSize]byte(r.Bytes()); !w.any || w.status != b {
		if _, err := d.Replace(u.prefix, "status", b[:], w.any); err != nil {
			return err
		}
		w.status = b
	}
	w.any = true
	return failed
}

// warnOnDeleted warns, and takes note where the reason is that the service
// directory itself was removed: there is nothing left to supervise then.
func (s *service) warnOnDeleted(err error) {
	if readOnly := errors.Is(err, unix.EROFS); !readOnly || !s.readOnly { // that is said once
		s.warn(err)
		s.readOnly = s.readOnly || readOnly
	}
	if errors.Is(err, unix.ENOENT) && s.dir.Deleted() {
		s.deleted = true
	}
}
