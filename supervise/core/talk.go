package core

import (
	"encoding/binary"
	"os"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
	"runitbox/supervise/machine"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/sys"
	"runitbox/supervise/wire"
)

// talk is what a ./run with notify-socket says of itself, and the socket by which it
// does, as sd_notify(3) has it.
type talk struct {
	fd       int
	address  string // as NOTIFY_SOCKET is to tell it
	said     state.Notice
	watchdog *time.Timer // until it has to say that it works; nil: it need not yet
	worked   time.Time   // when it said so last
	strange  bool        // that others have sent something was told
	refused  bool        // that no other process counts as ./run was told
}

// The files of a talk. With a dot in its name one is known to be removed by the core.
const (
	talkSocket = "supervise/notify.socket"
	talkSaid   = "supervise/notify.said"
)

// openTalk makes the socket for a ./run that is about to be made.
func (s *service) openTalk(u *unit) error {
	fd, address, err := s.bindTalk(u)
	if err != nil {
		return fmt.Errorf("unable to create the socket of notify-socket: %w", err)
	}
	s.watchTalk(u, fd)
	u.talk.address = address
	return nil
}

// watchTalk has what comes to the socket told.
func (s *service) watchTalk(u *unit, fd int) {
	u.talk = &talk{fd: fd}
	if err := s.core.poller.watch(fd, watch{unit: u, talk: true}, unix.EPOLLIN|unix.EPOLLET); err != nil {
		s.warn(fmt.Errorf("unable to poll the socket of notify-socket: %w", err))
	}
}

// bindTalk makes a socket that everybody may send to; who has sent something is looked
// at. It takes the place of what is at supervise/notify.socket at once, so that no message
// of a process that runs meets no socket. Where its path is too long, or nothing can be
// made there, the socket has an abstract name that the kernel gives.
func (s *service) bindTalk(u *unit) (fd int, address string, err error) {
	name, at := u.prefix+talkSocket, s.at(u.prefix)
	next := name + ".new"
	if path := s.pathOf(name); path != "" {
		unix.Unlinkat(at, next, 0)
		if fd, err = boundSocket(path + ".new"); err == nil {
			s.openWay(u)
			if err = unix.Fchmodat(at, next, 0o666, 0); err == nil {
				err = unix.Renameat(at, next, at, name)
			}
			if err == nil {
				return fd, path, nil
			}
			unix.Unlinkat(at, next, 0)
			unix.Close(fd)
		}
	}
	if fd, err = boundSocket(""); err != nil {
		return -1, "", err
	}
	if address, err = abstractName(fd); err != nil {
		unix.Close(fd)
		return -1, "", err
	}
	return fd, address, nil
}

// pathOf is the whole path of a file of the service, "" where it is not known, or is
// too long for a socket that is to be renamed there.
func (s *service) pathOf(name string) string {
	var buf [sunPath]byte
	n, err := unix.Readlink("/proc/self/fd/"+strconv.Itoa(s.dir.At(name)), buf[:])
	if err != nil || n == 0 || buf[0] != '/' || n+len("/"+name+".new") >= len(buf) {
		return ""
	}
	return string(buf[:n]) + "/" + name
}

// openWay lets everybody reach the files in supervise by their names, though not see
// which there are: many services are not root's by the time when they are ready.
func (s *service) openWay(u *unit) {
	const enter = 0o011
	name := u.prefix + "supervise"
	if st, err := s.dir.Stat(name); err == nil && st.Mode&enter != enter {
		unix.Fchmodat(s.at(u.prefix), name, st.Mode&0o7777|enter, 0)
	}
}

// sunPath is how long the path of a socket may be, with the NUL behind it.
const sunPath = 108

// sockaddr is the kernel's struct sockaddr_un. (Package unix would bring the code for
// each kind of address that there is.)
type sockaddr [2 + sunPath]byte

// boundSocket is a socket that tells who has sent a message, at that path; at "" it has a
// name that the kernel chooses.
func boundSocket(path string) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	var addr sockaddr
	binary.NativeEndian.PutUint16(addr[:], unix.AF_UNIX)
	size := 2 + copy(addr[2:], path)
	if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err == nil {
		if _, _, no := unix.Syscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&addr)), uintptr(size)); no != 0 {
			err = no
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// abstractName is the name of a socket that is no file, as NOTIFY_SOCKET tells it.
func abstractName(fd int) (string, error) {
	var addr sockaddr
	size := uint32(len(addr))
	if _, _, no := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&size))); no != 0 {
		return "", no
	}
	if size < 4 || addr[2] != 0 {
		return "", unix.EADDRNOTAVAIL
	}
	return "@" + string(addr[3:min(int(size), len(addr))]), nil
}

// talkEnv is the environment of a ./run that has a socket to send to. What an outer
// supervisor has told this one is not for it.
func (u *unit) talkEnv(env []string) []string {
	own := make([]string, 0, len(env)+2)
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		switch name {
		case "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID":
		default:
			own = append(own, v)
		}
	}
	own = append(own, "NOTIFY_SOCKET="+u.talk.address)
	if d := u.policy.Watchdog; d > 0 {
		own = append(own, "WATCHDOG_USEC="+strconv.FormatInt(d.Microseconds(), 10))
	}
	return own
}

// restoreTalk goes on with the talk of a ./run of an earlier core. The scanner has kept
// the socket, and what came to it meanwhile; where it has gone too there is another in
// its place.
func (s *service) restoreTalk(u *unit, k stash) {
	fd := k.take(u.prefix + "talk")
	if u.pid == 0 || u.st.Phase != machine.Running {
		if fd >= 0 {
			unix.Close(fd)
			s.removeTalk(u)
		}
		return
	}
	if fd < 0 {
		if u.policy == nil || !u.policy.NotifySocket || !s.dir.Has(u.prefix+talkSocket) { // it was started without one that is a file
			return
		}
		var address string
		var err error
		fd, address, err = s.bindTalk(u)
		if err == nil && address[0] != '/' {
			unix.Close(fd)
			err = unix.EROFS
		}
		if err != nil {
			s.warn(fmt.Errorf("unable to create the socket of notify-socket again: %w", err))
			return
		}
	}
	s.watchTalk(u, fd)
	t := u.talk
	if s.dir.Has(u.prefix + talkSocket) {
		t.address = s.pathOf(u.prefix + talkSocket)
	}
	if b, err := sys.Slurp(s.at(u.prefix), u.prefix+talkSaid, state.NoticeMost); err == nil {
		t.said = state.ParseNotice(b)
		if st, err := s.dir.Stat(u.prefix + talkSaid); err == nil && st.Mtim.Sec > 0 {
			t.worked = time.Unix(st.Mtim.Unix())
		}
	}
	switch {
	case !t.said.Hung.IsZero():
		s.feed(u, machine.AbortSent)
	case !t.worked.IsZero():
		s.feed(u, machine.Works)
	}
	s.post(event{kind: evTalk, who: u})
}

// closeTalk ends the talk of a ./run that has ended, or was not made.
func (u *unit) closeTalk() {
	if u.talk != nil {
		u.svc.core.awaitStash(u.svc)
		u.dropTalk()
		u.svc.removeTalk(u)
		u.svc.core.stashSoon(u.svc)
	}
}

// dropTalk lets go of the socket. The scanner has, or needs, no descriptors of the
// service that are still to be sent.
func (u *unit) dropTalk() {
	if t := u.talk; t != nil {
		if t.watchdog != nil {
			t.watchdog.Stop()
		}
		u.svc.core.poller.close(t.fd)
		u.talk = nil
	}
}

// removeTalk removes the files of a talk.
func (s *service) removeTalk(u *unit) {
	unix.Unlinkat(s.at(u.prefix), u.prefix+talkSocket, 0)
	unix.Unlinkat(s.at(u.prefix), u.prefix+talkSaid, 0)
}

// talkAtOnce is how many messages are read before others have their turn.
const talkAtOnce = 32

// hear reads what has come to the socket, and acts on it.
func (s *service) hear(u *unit) {
	t := u.talk
	if t == nil || u.pid == 0 || u.st.Phase != machine.Running { // who may send is not known yet
		return
	}
	var all state.Said
	var barriers []int
	now := time.Now()
	for n := 0; ; n++ {
		if n == talkAtOnce {
			s.post(event{kind: evTalk, who: u})
			break
		}
		m, err := receive(t.fd)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			break
		}
		barriers = append(barriers, m.fds...)
		if !s.isOwn(u, m) {
			if !t.strange {
				t.strange = true
				s.warn(fmt.Errorf("what process %d of user %d has sent to %s is ignored: it is none of the service's", m.pid, m.uid, u.prefix+"supervise/notify.socket"))
			}
			continue
		}
		said := t.said.Take(m.text, now)
		if said.Main != "" && said.Main != strconv.Itoa(u.pid) && !t.refused {
			t.refused = true
			s.warn(fmt.Errorf("MAINPID=%s is refused: what is supervised is %s./run (pid %d)", said.Main, u.prefix, u.pid))
		}
		all.Ready, all.Works, all.Hangs, all.Change = all.Ready || said.Ready, all.Works || said.Works, all.Hangs || said.Hangs, all.Change || said.Change
	}
	s.actOn(u, all, now)
	for _, fd := range barriers { // who waits for that knows by it that all is done
		unix.Close(fd)
	}
}

// actOn does what messages ask for.
func (s *service) actOn(u *unit, said state.Said, now time.Time) {
	t := u.talk
	ready := said.Ready && u.st.Unready
	works := said.Works || ready || said.Change && !u.st.Unready && t.worked.IsZero()
	if works = works && s.watchdogTime(u) > 0; works {
		t.worked = now
	}
	if said.Change || works && !s.touchSaid(u) {
		s.writeSaid(u)
	}
	if ready {
		s.feed(u, machine.Ready)
	}
	if works || said.Change && t.watchdog != nil {
		s.feed(u, machine.Works)
	}
	if said.Hangs {
		s.feed(u, machine.Hangs)
	}
}

// writeSaid has others see what ./run has said. What cannot be written is seen by nobody,
// and no more than that.
func (s *service) writeSaid(u *unit) {
	if _, err := s.dir.Replace(u.prefix, "notify.said", u.talk.said.Bytes(), true); err == nil {
		s.touchSaid(u)
	}
}

// touchSaid notes in the file's time when ./run has said last that it works.
func (s *service) touchSaid(u *unit) bool {
	var at unix.Timespec // 1970 stands for never
	if w := u.talk.worked; !w.IsZero() {
		at = unix.NsecToTimespec(w.UnixNano())
	}
	return unix.UtimesNanoAt(s.at(u.prefix), u.prefix+talkSaid, []unix.Timespec{at, at}, 0) == nil
}

// watchdogTime is how long ./run may be silent; 0: for ever.
func (s *service) watchdogTime(u *unit) time.Duration {
	if d := u.talk.said.Watchdog; d != 0 {
		return d
	}
	if u.policy == nil {
		return 0
	}
	return u.policy.Watchdog
}

// startWatchdog gives ./run its time again, from when it said last that it works.
func (s *service) startWatchdog(u *unit) {
	t := u.talk
	limit := s.watchdogTime(u)
	if limit == 0 {
		return
	}
	left := min(limit, max(0, time.Until(t.worked.Add(limit)))) // the clock may have been set
	if t.watchdog != nil {
		t.watchdog.Reset(left)
		return
	}
	pid := u.pid
	t.watchdog = time.AfterFunc(left, func() { s.post(event{kind: evSilent, who: u, pid: pid}) })
}

// silent tells the machine of a ./run that has not said in time that it works. That may have
// come meanwhile.
func (s *service) silent(ev event) {
	u := ev.who
	if u.talk == nil || u.pid != ev.pid {
		return
	}
	s.hear(u)
	switch t := u.talk; {
	case t == nil:
	case time.Since(t.worked) < s.watchdogTime(u):
		s.startWatchdog(u)
	default:
		s.feed(u, machine.Silent)
	}
}

// abort has ./run, which hangs, tell where it does by a core dump.
func (s *service) abort(u *unit, why machine.Event) {
	if u.talk == nil {
		return
	}
	u.talk.said.Hung = time.Now()
	s.writeSaid(u)
	u.signal(u.pid, unix.SIGABRT)
	u.signal(u.pid, unix.SIGCONT)
	s.feed(u, machine.AbortSent)
	text := "it has said so"
	if why == machine.Silent {
		text = fmt.Sprintf("it has not said WATCHDOG=1 for %v", s.watchdogTime(u))
	}
	s.warn(fmt.Errorf("%s./run (pid %d) hangs: %s: it is sent ABRT", u.prefix, u.pid, text))
}

// limitHung begins the time that what was sent ABRT has to end.
func (s *service) limitHung(u *unit) {
	if u.deadline != nil {
		return
	}
	u.deadlineIn(time.Until(u.talk.said.Hung.Add(s.killTime(u))))
}

// extended is how much longer ./run is given than a timeout says, as it has asked for.
func (u *unit) extended() time.Duration {
	if u.talk == nil || u.st.Hung {
		return 0
	}
	return max(0, time.Until(u.talk.said.Extended))
}

// forgetExtension has what ./run was given to start not count for its end.
func (s *service) forgetExtension(u *unit) {
	if t := u.talk; t != nil && !t.said.Extended.IsZero() {
		t.said.Extended = time.Time{}
		s.writeSaid(u)
	}
}

// remakeTalk binds a socket again where its file was deleted. What is in the old one is
// heard.
func (s *service) remakeTalk(u *unit) {
	if !s.missesTalk(u) {
		return
	}
	s.hear(u)
	fd, address, err := s.bindTalk(u)
	if err != nil || address[0] != '/' {
		if fd >= 0 {
			unix.Close(fd)
		}
		return
	}
	t := u.talk
	s.core.awaitStash(s)
	s.core.poller.close(t.fd)
	t.fd = fd
	s.core.poller.watch(fd, watch{unit: u, talk: true}, unix.EPOLLIN|unix.EPOLLET)
	s.writeSaid(u)
	s.core.stashNow(s)
}

// missesTalk says whether the file of the unit's socket was deleted.
func (s *service) missesTalk(u *unit) bool {
	return u.talk != nil && strings.HasPrefix(u.talk.address, "/") && !s.dir.Has(u.prefix+talkSocket)
}

// message is what has come to the socket, and from whom.
type message struct {
	text     string
	pid, uid int
	fds      []int
}

// messageMost is how long a message may be; a longer one counts for nothing.
const messageMost = 4096

// receive takes a message out of the socket.
func receive(fd int) (m message, err error) {
	var buf [messageMost + 1]byte
	oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*4))
	n, on, err := wire.Recvmsg(fd, buf[:], oob)
	if err != nil {
		return m, err
	}
	if n <= messageMost {
		m.text = string(buf[:n])
	}
	cs, _ := unix.ParseSocketControlMessage(oob[:on])
	for i := range cs {
		if cred, err := unix.ParseUnixCredentials(&cs[i]); err == nil {
			m.pid, m.uid = int(cred.Pid), int(cred.Uid)
		} else if fds, err := unix.ParseUnixRights(&cs[i]); err == nil {
			m.fds = append(m.fds, fds...)
		}
	}
	return m, nil
}

// isOwn says whether a message is from a process of the service: ./run, what it has
// started, what is in its session. Of one that has ended and is not there any more only
// the user can be told: ./run's, or one who may do everything to it.
func (s *service) isOwn(u *unit, m message) bool {
	if m.pid <= 0 { // it is of another pid namespace
		return false
	}
	if m.pid == u.pid {
		return true
	}
	own, _ := unix.Getsid(0)
	if sid, err := unix.Getsid(u.pid); err == nil && sid != own {
		if theirs, err := unix.Getsid(m.pid); err == nil && theirs == sid {
			return true
		}
	}
	st, found, err := proc.StatOf(m.pid)
	if err != nil || !found {
		return m.uid == 0 || m.uid == os.Geteuid() || m.uid == ownerOf(u.pid)
	}
	for found && err == nil && st.PPID > 1 {
		if st.PPID == u.pid {
			return true
		}
		st, found, err = proc.StatOf(st.PPID)
	}
	return false
}

// ownerOf is the user of a process, -1 where that cannot be told.
func ownerOf(pid int) int {
	var st unix.Stat_t
	if unix.Stat(proc.Path(pid, ""), &st) != nil {
		return -1
	}
	return int(st.Uid)
}
