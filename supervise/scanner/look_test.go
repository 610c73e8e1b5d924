package scanner

import (
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// TestAskWithoutThreads: where no thread can be had, nobody is begun beside one who
// waits for an answer. What was not asked about is as before, and asked about when
// there is an answer.
func TestAskWithoutThreads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t.TempDir())
		var wanted []int
		room := false
		d.threads = func(workers int) bool {
			wanted = append(wanted, workers)
			return room
		}
		dir := &sharedDir{}
		dir.users.Add(1) // it is never closed
		answers := make(chan bool)
		var mu sync.Mutex
		asked := map[string]int{}
		one := func(name string) answer {
			mu.Lock()
			asked[name]++
			mu.Unlock()
			if name == "hung" {
				<-answers
			}
			return answer{name: name, state: isKnown}
		}
		ask := func(want map[string]answerState) {
			t.Helper()
			got := map[string]answerState{}
			for _, a := range d.ask(dir, []string{"a", "hung", "b"}, one, nil) {
				got[a.name] = a.state
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		ask(map[string]answerState{"a": isKnown, "hung": isHung, "b": isHung})
		ask(map[string]answerState{"a": isHung, "hung": isHung, "b": isHung})
		if diff := cmp.Diff([]int{2, 2, 2}, wanted); diff != "" {
			t.Errorf("threads that were asked for (-want +got):\n%s", diff)
		}
		room = true
		ask(map[string]answerState{"a": isKnown, "hung": isHung, "b": isKnown})
		close(answers)
		synctest.Wait()
		ask(map[string]answerState{"a": isKnown, "hung": isKnown, "b": isKnown})
		if diff := cmp.Diff(map[string]int{"a": 3, "hung": 1, "b": 2}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
}
