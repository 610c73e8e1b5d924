package applets

import (
	"errors"
	"sync/atomic"
	"time"

	"runitbox/applets/syslog"
	"runitbox/fmt"
)

// outagePatience is how long lines wait for syslog, from the first that cannot
// be sent: longer than its daemon takes to start anew.
const outagePatience = 10 * time.Second

// outage is a time without syslog. Its zero value is none.
type outage struct {
	since time.Time
	lost  int         // lines
	over  atomic.Bool // there is no time to wait
}

// wait waits for a moment, unless the patience is at its end. The beginning of
// an outage is told.
func (o *outage) wait(v *vlogger, err error, pause time.Duration) bool {
	if o.since.IsZero() {
		o.since = time.Now()
		v.warn(fmt.Errorf("unable to reach syslog: %s: %w", v.conn.Path, err))
	}
	if o.over.Load() || time.Since(o.since) >= outagePatience {
		return false
	}
	time.Sleep(pause)
	return true
}

// tell ends an outage: what was lost is told.
func (o *outage) tell(v *vlogger) {
	if o.since.IsZero() {
		return
	}
	if o.lost > 0 {
		v.warn(errors.New(o.words()))
		v.conn.Send(append([]byte(syslog.Header(v.priority, time.Now(), v.tag, v.pid)), v.who+": warning: "+o.words()...))
	}
	o.since, o.lost = time.Time{}, 0
}

// words says what was lost.
func (o *outage) words() string {
	lines := "1 line was"
	if o.lost != 1 {
		lines = fmt.Sprintf("%d lines were", o.lost)
	}
	return lines + " lost while there was no syslog"
}
