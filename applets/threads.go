package applets

import (
	"runtime"
	"sync"
)

// spareThreads has the runtime make so many threads beside the one that runs
// this. It keeps them, and has no need to make another as long as no more
// goroutines than that wait in the kernel at once: where no thread can be made,
// since a user has too many or a control group, the runtime ends the program.
func spareThreads(n int) {
	var made, done sync.WaitGroup
	leave := make(chan struct{})
	for range n {
		made.Add(1)
		done.Add(1)
		go func() {
			runtime.LockOSThread() // each stays on its own
			made.Done()
			<-leave
			runtime.UnlockOSThread()
			done.Done()
		}()
	}
	made.Wait()
	close(leave)
	done.Wait()
}
