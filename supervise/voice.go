package supervise

import (
	"fmt"
	"sync"
	"time"
)

// voice says messages in a goroutine of its own, in their order, so that a reader
// of standard error who has stopped holds up nobody. What he does not take is kept
// up to a bound; what is beyond is counted, and that is said when he goes on.
type voice struct {
	say func(Level, string, error) // may wait

	mu     sync.Mutex
	queue  []saying
	lost   int
	silent chan struct{} // closed when all is said; nil where nothing is being said
}

type saying struct {
	level   Level
	service string
	err     error
}

// voiceMax is how many messages are kept.
const voiceMax = 256

// Say has a message said. It never waits.
func (v *voice) Say(level Level, service string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.queue) == voiceMax {
		v.lost++
		return
	}
	v.queue = append(v.queue, saying{level, service, err})
	if v.silent == nil {
		v.silent = make(chan struct{})
		go v.speak()
	}
}

func (v *voice) speak() {
	defer deafThread()()
	for {
		v.mu.Lock()
		if len(v.queue) == 0 {
			if v.lost == 0 {
				v.queue = nil
				close(v.silent)
				v.silent = nil
				v.mu.Unlock()
				return
			}
			v.queue = append(v.queue, saying{Warning, "", fmt.Errorf("%d messages were lost: nobody read them.", v.lost)})
			v.lost = 0
		}
		m := v.queue[0]
		v.queue = v.queue[1:]
		v.mu.Unlock()
		v.say(m.level, m.service, m.err)
	}
}

// finish waits until all is said, but not for long.
func (v *voice) finish() {
	v.mu.Lock()
	silent := v.silent
	v.mu.Unlock()
	if silent == nil {
		return
	}
	select {
	case <-silent:
	case <-time.After(200 * time.Millisecond):
	}
}
