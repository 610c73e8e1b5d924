package diag

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Who has something to say does not wait for who reads it; what is said is said in
// order, and what there was no room for is counted.
func TestVoice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := make(chan struct{})
		var said []string
		v := &Queue{Say: func(level Level, service string, err error) {
			<-reader
			said = append(said, fmt.Sprint(level, " ", service, ": ", err))
		}}
		v.Finish(FinishTime) // there is nothing to wait for
		begin := time.Now()
		for n := range wordsMax + 3 {
			v.Tell(Fatal, "web", errors.New(fmt.Sprint(n)))
			synctest.Wait() // the first is on its way
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("took %v, want no time at all", took)
		}
		v.Finish(FinishTime)
		if took := time.Since(begin); took != FinishTime {
			t.Errorf("the end waited %v, want %v", took, FinishTime)
		}
		close(reader)
		v.Finish(FinishTime)
		var want []string
		for n := range wordsMax + 1 {
			want = append(want, fmt.Sprint("1 web: ", n))
		}
		want = append(want, "0 : standard error was not read for a while: 2 messages are lost.")
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		v.Tell(Warning, "db", errors.New("again"))
		v.Finish(FinishTime)
		if last := said[len(said)-1]; last != "0 db: again" {
			t.Errorf("the last message is %q", last)
		}
	})
}

// What follows a message waits for it to be said, but for no reader who has stopped.
func TestVoiceSettles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := 10 * time.Millisecond
		said := 0
		v := &Queue{Say: func(Level, string, error) { time.Sleep(takes); said++ }}
		v.Settle()
		v.Tell(Fatal, "web", errors.New("one"))
		v.Settle()
		if said != 1 {
			t.Error("it was not said before what follows it")
		}
		takes = time.Hour
		v.Tell(Fatal, "web", errors.New("two"))
		begin := time.Now()
		for range 100 {
			v.Settle()
		}
		if took := time.Since(begin); took > 2*patient {
			t.Errorf("100 that follow have waited %v", took)
		}
		v.Finish(2 * takes)
	})
}
