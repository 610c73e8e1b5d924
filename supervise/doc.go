// Package supervise is the room of supervision. It has no code of its own; its packages
// are two programs and what they share.
//
// Package scanner is runsvdir: it knows which services there are and nothing of what
// they do. Package core supervises all of them, in one process, the scanner's child; for
// runsv it supervises one, without a scanner. A link of package wire joins the two. The
// rules by which a service lives are a table in package machine.
//
// Who owns what: a service, its state, descriptors and timers, belongs to the one
// goroutine that works on it at the moment, and to none while nothing happens; everybody
// else puts an event into its inbox. Which services there are is the registry's, whose
// each process is the processes', how many descriptors may still be opened the budget's:
// each of these has a lock of its own. What may hang on a file system is a job of the
// worker pool. The scanner's entries belong to its loop, what it looks at to directory.
//
// Who never waits: the scanner's loop, for no file system, no core and no reader of
// standard error; the core's reaper, for no owner of a process; either end of the link,
// for the other to read; and who has something to say, for its reader (package diag).
//
// The order of the locks: processes before inbox before pool; registry before inbox
// before pool; processes before outbox before link; stash.sends before stash before
// outbox before link. A record is written under a lock that nobody takes who holds
// another, since a disk may hold it up.
//
// The files below a service's supervise directory are the contract with everything made
// for runit; README.md tells of them, of the architecture at more length, and in which
// file a change belongs.
package supervise
