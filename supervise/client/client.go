// Package client gives commands to supervised services and waits for what becomes of
// them, by the files below supervise/, whoever it is that serves these. An Order is one
// command; a Client sends orders and waits for all of them at once.
package client

import (
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// ErrNotRunning is the answer of a service directory that no runsv serves.
var ErrNotRunning = errors.New("runsv not running")

// Unreachable is the error for a service directory that cannot be entered.
type Unreachable struct{ Err error }

func (u Unreachable) Error() string {
	return "unable to change to service directory: " + u.Err.Error()
}

// Unwrap is what the system said.
func (u Unreachable) Unwrap() error { return u.Err }

// Remote is a service directory as its clients see it: by the files below
// supervise/, whoever it is that serves it.
type Remote struct {
	fd   int
	path string
	dir  string // the directory below which supervise/ lies: path, or another
	at   int    // what is in supervise/ is relative to this: fd, or where that lies elsewhere
}

// supervised opens the FIFO in supervise/ of that name for writing, as long as that is not
// served by anybody also where another supervise directory belongs to the service.
func (r *Remote) supervised(fifo string) (int, error) {
	fd, err := r.open(r.at, fifo)
	if err == nil || r.at != r.fd || !errors.Is(err, ErrNotRunning) && !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	dir := statedir.Find(r.path, r.fd)
	if dir == "" {
		return fd, err
	}
	at, miss := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if miss != nil {
		return fd, err
	}
	r.at, r.dir = at, dir
	return r.open(r.at, fifo)
}

// Reach opens the service directory at path.
func Reach(path string) (*Remote, error) {
	if path == "" {
		return nil, Unreachable{unix.ENOENT}
	}
	// The dot asks for the right to enter the directory, as chdir would.
	fd, err := sys.Open(unix.AT_FDCWD, path+"/.", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, Unreachable{err}
	}
	return &Remote{fd: fd, at: fd, path: path, dir: path}, nil
}

// Log reaches the log service of r.
func (r *Remote) Log() (*Remote, error) {
	fd, err := sys.Open(r.fd, "log/.", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, Unreachable{err}
	}
	return &Remote{fd: fd, at: fd, path: r.path + "/log", dir: r.path + "/log"}, nil
}

// Close lets go of the directory.
func (r *Remote) Close() {
	if r.at != r.fd {
		unix.Close(r.at)
	}
	unix.Close(r.fd)
}

// Supervise is the path of the service's supervise directory.
func (r *Remote) Supervise() string { return r.dir + "/supervise" }

// HasDown says whether the service is to be down when its runsv starts.
func (r *Remote) HasDown() (bool, error) { return r.has("down") }

// GivenUp says whether the service has been given up: it stays down until an order
// starts it.
func (r *Remote) GivenUp() bool { return r.Told().Word == state.ProcFailed }

// Readiness is whether the service's process has said that it is ready.
func (r *Remote) Readiness() state.Readiness { return r.Told().Ready }

// Told is what the supervisor has recorded of the service's process; of no word where there
// is no record.
func (r *Remote) Told() state.Process {
	p, ok, err := proc.Read(r.at, "supervise/proc")
	if err != nil || !ok {
		return state.Process{}
	}
	return p
}

// lookAgain is how often Look reads again, a millisecond apart.
const lookAgain = 5

// Look is Probe and Told of one moment. The core writes what Told reads, and then the status:
// where these tell of two processes they are read again, and sure is false where they still
// do. The process of the status may then be one that the service shares with others, or did.
func (r *Remote) Look() (rec state.Record, told state.Process, sure bool, err error) {
	for try := range lookAgain {
		if try > 0 {
			time.Sleep(time.Millisecond)
		}
		if rec, err = r.Probe(); err != nil {
			return rec, told, false, err
		}
		if told = r.Told(); told.PID == rec.PID {
			return rec, told, true, nil
		}
		if told.Word == "" { // nobody keeps a record, or it was cleared after the end
			again, err := r.Probe()
			if err != nil || again == rec {
				return again, told, err == nil, err
			}
		}
	}
	return rec, told, false, nil
}

// Notice is what the service's process has said of itself.
func (r *Remote) Notice() (n state.Notice) {
	if b, err := sys.Slurp(r.at, "supervise/notify.said", state.NoticeMost); err == nil {
		n = state.ParseNotice(b)
	}
	return n
}

// History is what is written of the service's last ends.
func (r *Remote) History() ([]byte, error) { return proc.History(r.at, "supervise/history") }

// Flaps is how many of its last ends, of which the newest is told, make up the loop of
// short lives that a service of that status is in; 0 if it is in none.
func (r *Remote) Flaps(rec state.Record) (n int, last state.Ended) {
	b, err := r.History()
	if err != nil {
		return 0, last
	}
	ends := state.ParseHistory(b)
	if n = state.Flaps(ends, rec, time.Now()); n > 0 {
		last = ends[len(ends)-1]
	}
	return n, last
}

// has says whether the directory holds a file of that name.
func (r *Remote) has(name string) (bool, error) { return has(r.fd, name) }

func has(at int, name string) (bool, error) {
	var st unix.Stat_t
	switch err := unix.Fstatat(at, name, &st, 0); {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.ENOENT):
		return false, nil
	default:
		return false, err
	}
}

// Probe reads the service's status. It is a status only if somebody reads
// supervise/ok; else the error is ErrNotRunning.
func (r *Remote) Probe() (state.Record, error) {
	ok, err := r.supervised("supervise/ok")
	if err != nil {
		return state.Record{}, err
	}
	unix.Close(ok)
	fd, err := sys.Open(r.at, "supervise/status", unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return state.Record{}, fmt.Errorf("unable to open supervise/status: %w", err)
	}
	defer unix.Close(fd)
	b := make([]byte, state.StatusSize)
	n, err := unix.Read(fd, b)
	if err != nil {
		return state.Record{}, fmt.Errorf("unable to read supervise/status: %w", err)
	}
	rec, err := state.ParseRecord(b[:n])
	if err != nil {
		return state.Record{}, fmt.Errorf("unable to read supervise/status: %w", err)
	}
	return rec, nil
}

// ProbeUntil is Probe with patience: until the time given it asks again where
// a core is about to be replaced.
func (r *Remote) ProbeUntil(limit time.Time) (state.Record, error) {
	for {
		rec, err := r.Probe()
		if !errors.Is(err, ErrNotRunning) || time.Now().After(limit) || !r.abandoned() {
			return rec, err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// outputPatience is how long a pipe must have no room to count as full: one that
// is read has some before.
const outputPatience = 20 * time.Millisecond

// OutputBlocked says whether the process of a service that has a log service
// cannot write to it: its standard output is a pipe without room. Whose rights
// do not allow to look does not know.
func OutputBlocked(pid int) (blocked, known bool) {
	path := proc.Path(pid, "fd/1")
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return false, path != "" && errors.Is(err, unix.ENOENT) // it has none, or has ended
	}
	if st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return false, true
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, false
	}
	defer unix.Close(fd)
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, int(outputPatience/time.Millisecond))
	return n == 0, err == nil
}

// OutputBacklog is how many bytes a process has written to a pipe, as to its log service,
// that nobody has read yet. Whose rights do not allow to look does not know.
func OutputBacklog(pid int) (bytes int, known bool) {
	path := proc.Path(pid, "fd/1")
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return 0, false
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return n, err == nil
}

// probeExpected is ProbeUntil for a service, at path, that is to be started: also
// one that nobody supervises yet is waited for, where a runsvdir is about to.
func (r *Remote) probeExpected(path string, limit time.Time) (state.Record, error) {
	for pause := quickFirst; ; pause = min(2*pause, 5*time.Millisecond) {
		rec, err := r.ProbeUntil(limit)
		if !isAbsent(err) || time.Now().After(limit) || !expected(path) {
			return rec, err
		}
		time.Sleep(pause)
	}
}

// open opens a FIFO for writing. Nobody at the other end is ErrNotRunning.
func (r *Remote) open(at int, fifo string) (int, error) {
	fd, err := sys.Open(at, fifo, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.ENXIO):
		return -1, ErrNotRunning
	case err != nil:
		return -1, fmt.Errorf("unable to open %s: %w", fifo, err)
	}
	return fd, nil
}

// write sends command bytes through fd.
func (r *Remote) write(fd int, cmd string) error {
	switch n, err := unix.Write(fd, []byte(cmd)); {
	case errors.Is(err, unix.EPIPE): // it ended after the probe
		return ErrNotRunning
	case err != nil:
		return fmt.Errorf("unable to write to supervise/control: %w", err)
	case n < len(cmd):
		return fmt.Errorf("unable to write to supervise/control: partial write")
	}
	return nil
}

// abandoned says whether the core that served the directory went without
// letting go of it, so that its successor is to be expected. Such a core has
// left supervise/proc behind, written in this boot. A runsv that exited has removed
// it, and runit's has none.
func (r *Remote) abandoned() bool {
	w, err := proc.ReadWorld()
	return err == nil && w.Boot != 0 && r.Told().World.Boot == w.Boot
}

// unread says whether bytes wait in the FIFO that fd writes to.
func unread(fd int) bool {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	return err == nil && n > 0
}

// changed says whether a service's process is another one than before, or has
// ended or begun since.
func changed(before, now state.Record) bool {
	return now.PID != before.PID || !now.Since.Equal(before.Since)
}

// arrived says when the service is where the command of a letter wanted it,
// given its status before the command was sent and now. There is no status by
// which 'x' is met: runsv is gone then.
func arrived(letter byte, before, now state.Record) bool {
	switch letter {
	case 'u':
		return now.PID != 0 && now.State == state.Run && now.Want != state.WantDown
	case 'd':
		return now.PID == 0 && now.State == state.Down && now.Want != state.WantUp
	case 't', 'k':
		return renewed(before, now)
	case 'c':
		return now.PID == 0 || !now.Paused
	case 'p':
		return now.PID == 0 || now.Paused
	case 'o':
		return now.Want == state.WantDown && (now.PID != 0 || changed(before, now))
	case 'C':
		if now.Want == state.WantDown {
			return now.PID == 0 && now.State == state.Down
		}
		return now.PID != 0 && now.State == state.Run
	}
	return false
}

// renewed is met by a process that was started since, or by none where none
// is wanted.
func renewed(before, now state.Record) bool {
	if now.PID == 0 {
		return now.Want == state.WantDown
	}
	return now.State == state.Run && !now.Termed && changed(before, now)
}

// met says whether all conditions, a letter each, are met.
func met(conditions string, before, now state.Record) bool {
	for i := range len(conditions) {
		if !arrived(conditions[i], before, now) {
			return false
		}
	}
	return true
}

// checked says whether the conditions, once met, are also for ./check to
// judge: where one of them is about a process that is to serve.
func checked(conditions string, now state.Record) bool {
	return now.PID != 0 && (strings.ContainsAny(conditions, "utk") || strings.Contains(conditions, "C") && now.Want != state.WantDown)
}

// Order is a command on its way to a service.
type Order struct {
	Path   string       // of the service directory
	Until  string       // conditions to wait for, letters of the commands
	Before state.Record // the status when the command was sent
	Steady bool         // what is to run must last: be ready where it says so, else live for SteadyTime
	Last   time.Time    // the order may take until then, if that is later than what Wait is given

	unsent  string // the command, where nobody supervises the service yet
	comes   bool   // the service is waited for to be supervised
	control int    // the command FIFO, while the command may be unread in it; or -1
	waitState
}

// SteadyTime is how long a service must live to count as one that lasts.
const SteadyTime = time.Second

// Client sends commands to services and waits for what becomes of them. Its
// zero value is ready; it is for one goroutine.
type Client struct {
	// Patience is the time until which a core that is being replaced is
	// waited for.
	Patience time.Time

	held   []*Order // those whose control is open
	coming coming
}

// maxHeld is how many orders keep a descriptor of one kind open at once: the
// command FIFO, supervise/ok, the end of ./check. What they are open for, to be
// woken and to lose nothing in a crash, the others go without; where few
// descriptors are allowed, there are enough left for one thing after the other.
var maxHeld = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(1000, max(limit.Cur, 32)/3-10))
})

// Reload is the command by which a service reads its configuration again: HUP, or what
// its reload-signal says.
const Reload = "r"

// Send writes cmd, command bytes, to the service at path and returns the
// order to wait for. An empty cmd is an order to wait for without a command.
func (c *Client) Send(path, cmd, until string) (*Order, error) {
	o := &Order{Path: path, Until: until, control: -1, waitState: notBegun}
	if cmd == "" {
		return o, nil
	}
	return o, c.send(o, cmd, strings.ContainsAny(cmd, "uo"))
}

// Order is Send for a caller that goes on to Wait: where nobody supervises the service yet
// and a runsvdir is about to, the command is sent then, and no other waits for that.
func (c *Client) Order(path, cmd, until string) (*Order, error) {
	o := &Order{Path: path, Until: until, control: -1, waitState: notBegun}
	for {
		err := c.try(o, cmd)
		if isAbsent(err) && !o.leaves() {
			comes, early := c.coming.comes(path)
			if early {
				time.Sleep(graceLook)
				continue
			}
			if o.comes = comes; comes {
				o.unsent = cmd
				return o, nil
			}
		}
		if cmd == "" { // Wait tells it
			err = nil
		}
		return o, err
	}
}

// try sends the command of an order; without one it looks whether it could.
func (c *Client) try(o *Order, cmd string) error {
	if cmd != "" {
		return c.send(o, cmd, false)
	}
	r, err := Reach(o.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.Probe()
	return err
}

// send writes a command to the service of an order. Whether a service that nobody
// supervises yet is waited for is said by early.
func (c *Client) send(o *Order, cmd string, early bool) error {
	r, err := Reach(o.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	if cmd == Reload { // only a service with such a file has a supervisor that knows of it
		if has, err := r.has("reload-signal"); err != nil || !has {
			cmd = "h"
		}
	}
	probe := r.ProbeUntil
	if early {
		probe = func(limit time.Time) (state.Record, error) { return r.probeExpected(o.Path, limit) }
	}
	if o.Before, err = probe(c.Patience); err != nil {
		return err
	}
	err = c.post(r, o, cmd)
	if errors.Is(err, ErrNotRunning) && r.abandoned() { // it went between the two
		if o.Before, err = r.ProbeUntil(c.Patience); err == nil {
			err = c.post(r, o, cmd)
		}
	}
	return err
}

// post puts cmd into the service's FIFO. The FIFO stays open until the command
// is read, so that what is in it outlives a core that dies.
func (c *Client) post(r *Remote, o *Order, cmd string) error {
	fd, err := r.supervised("supervise/control")
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFIFO {
		unix.Close(fd)
		return errors.New("supervise/control exists but is not a fifo") // nobody would read it
	}
	// A service on its way down is not told twice: the second TERM makes some
	// programs hurry. An unread command may be another, so then it is.
	if cmd[0] == 'd' && o.Before.Want == state.WantDown && o.Before.Termed && !unread(fd) {
		unix.Close(fd)
		return nil
	}
	if err := r.write(fd, cmd); err != nil {
		unix.Close(fd)
		return err
	}
	o.control = fd
	if c.held = append(c.held, o); len(c.held) > maxHeld() {
		c.held[0].release()
		c.held = c.held[1:]
	}
	return nil
}

// delivered says whether the command has been read.
func (o *Order) delivered() bool {
	if o.control >= 0 && unread(o.control) {
		return false
	}
	o.release()
	return true
}

// release closes the command FIFO.
func (o *Order) release() {
	if o.control >= 0 {
		unix.Close(o.control)
		o.control = -1
	}
}

// Deliver ends the client's work with orders nobody waits for. Where the
// service has a core that may be replaced while the service runs, it stays
// until the command is read, within limit: with the FIFO open at neither end,
// the command would be lost.
func (c *Client) Deliver(limit time.Duration) {
	end := time.Now().Add(limit)
	pause := 50 * time.Microsecond
	for _, o := range c.held {
		for !o.delivered() {
			lasting, gone := o.core()
			if !lasting || time.Now().After(end) && (!gone || time.Now().After(c.Patience)) {
				break
			}
			time.Sleep(pause)
			pause = min(2*pause, 5*time.Millisecond)
		}
		o.release()
	}
	c.held = nil
}

// core says whether the service has a core that can be replaced, and whether
// that is gone at present.
func (o *Order) core() (lasting, gone bool) {
	r, err := Reach(o.Path)
	if err != nil {
		return false, false
	}
	defer r.Close()
	_, served := r.Probe()
	if lasting, err = has(r.at, "supervise/proc"); err != nil || !lasting {
		return false, false
	}
	return true, errors.Is(served, ErrNotRunning)
}

// Kill sends the service a KILL beside its other orders.
func (o *Order) Kill() error {
	r, err := Reach(o.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	fd, err := r.supervised("supervise/control")
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return r.write(fd, "k")
}
