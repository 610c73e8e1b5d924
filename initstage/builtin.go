package initstage

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"runitbox/applets/slim/fmt"
)

// Stage is one of the stages that are built in. It runs in a child of process
// 1, where the system has no script for it.
type Stage struct {
	Paths Paths
	Words func(error) string
	Out   io.Writer
	Wait  time.Duration // between TERM and KILL in stage 3, 0 for the usual
	code  int
}

// Run runs stage n and returns its exit status.
func (s *Stage) Run(n int) int {
	if n == 3 || !inContainer() {
		fmt.Fprintf(s.Out, "- runit: stage %d is the built-in one: there is no %s\n", n, filepath.Join(s.Paths.Dir, strconv.Itoa(n)))
	}
	if os.Getenv("PATH") == "" {
		os.Setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	switch n {
	case 1:
		s.begin()
	case 2:
		s.serve()
	case 3:
		s.end()
	}
	return s.code
}

// warn tells what did not work. The stage goes on, since half a system is
// easier to mend than none, but it will have failed.
func (s *Stage) warn(what string, err error) {
	if err == nil {
		return
	}
	fmt.Fprintf(s.Out, "- runit: warning: unable to %s\n", s.Words(&verbError{what, err}))
	s.code = 1
}

// hope is warn for what a container's manager may have done or forbidden.
func (s *Stage) hope(what string, err error) {
	if inContainer() && slices.ContainsFunc([]error{unix.EPERM, unix.EACCES, unix.EROFS}, func(e error) bool { return errors.Is(err, e) }) {
		return
	}
	s.warn(what, err)
}

// mounts are the file systems that stage 1 mounts, in this order.
var mounts = []struct {
	kind, at string
	flags    uintptr
	data     string
}{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
	{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
}

// begin is stage 1: what every system needs before its services.
func (s *Stage) begin() {
	contained := inContainer()
	for _, m := range mounts {
		if mounted(m.at) || contained && m.kind == "devtmpfs" { // which has the devices of the machine
			continue
		}
		made := os.MkdirAll(m.at, 0o755)
		err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data)
		if errors.Is(err, unix.ENODEV) && m.kind == "devtmpfs" {
			err = unix.Mount("tmpfs", m.at, "tmpfs", m.flags, m.data)
			s.warn("make devices", makeNodes(m.at))
		}
		if errors.Is(err, unix.ENOENT) {
			err = made
		}
		s.hope("mount "+m.at, err)
	}
	s.hostname()
	s.hope("bring up lo", setUp("lo", true))
	// Where services keep their supervise directories, by the distributions' habits.
	for _, dir := range []string{"/run/runit", "/run/runit/supervise", "/run/runit/sv"} {
		s.hope("make "+dir, os.MkdirAll(dir, 0o755))
	}
	// A shutdown has kept the users out, of the system that ended.
	if text, err := os.ReadFile(nologin); err == nil && string(text) == goingDown {
		s.hope("remove "+nologin, os.Remove(nologin))
	}
	// Flags that were left from before must not end the system that begins.
	for _, flag := range []Flag{s.Paths.Stop, s.Paths.Reboot} {
		s.hope("reset the flags", flag.Clear())
		for _, path := range flag {
			if strings.HasPrefix(path, "/run/runit/") {
				fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CREAT|unix.O_CLOEXEC, 0)
				s.hope("create "+path, err)
				if err == nil {
					unix.Close(fd)
				}
			}
		}
	}
}

// mounted says whether dir is a mount point: another device than its parent's.
func mounted(dir string) bool {
	var at, above unix.Stat_t
	return unix.Stat(dir, &at) == nil && unix.Stat(filepath.Dir(dir), &above) == nil && at.Dev != above.Dev
}

// makeNodes makes the devices that no system can be without.
func makeNodes(dir string) error {
	for _, node := range []struct {
		name         string
		mode         uint32
		major, minor uint32
	}{
		{"console", 0o600, 5, 1}, {"tty", 0o666, 5, 0}, {"null", 0o666, 1, 3}, {"zero", 0o666, 1, 5},
		{"full", 0o666, 1, 7}, {"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"ptmx", 0o666, 5, 2},
	} {
		path := filepath.Join(dir, node.name)
		if err := unix.Mknod(path, unix.S_IFCHR|node.mode, int(unix.Mkdev(node.major, node.minor))); err != nil {
			return err
		}
		if err := os.Chmod(path, os.FileMode(node.mode)); err != nil {
			return err
		}
	}
	return nil
}

// hostname gives the host the name that /etc/hostname has in its first line.
func (s *Stage) hostname() {
	text, err := os.ReadFile("/etc/hostname")
	if err != nil {
		return
	}
	name, _, _ := strings.Cut(string(text), "\n")
	name = strings.TrimSpace(name)
	if now, err := os.Hostname(); name == "" || err == nil && name == now {
		return
	}
	s.hope("set the hostname", unix.Sethostname([]byte(name)))
}

// setUp sets the flag UP of a network interface, or resets it.
func setUp(name string, up bool) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil // no network in this kernel
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, req); err != nil {
		return err
	}
	flags := req.Uint16() &^ unix.IFF_UP
	if up {
		flags |= unix.IFF_UP
	}
	if flags == req.Uint16() {
		return nil
	}
	req.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// serve is stage 2: it becomes runsvdir on the services there are.
func (s *Stage) serve() {
	dir := s.services()
	if dir == "" {
		fmt.Fprintf(s.Out, "- runit: fatal: there is no directory of services: %s\n", strings.Join(s.Paths.Services, ", "))
		s.code = 111 // process 1 tries again: someone may make one
		return
	}
	argv := []string{"runsvdir", "-P", dir}
	if !inContainer() { // there nobody reads titles, and standard error is kept
		argv = append(argv, "log: "+strings.Repeat(".", 395))
	}
	err := unix.Exec(Executable(), argv, os.Environ())
	s.warn("run runsvdir", err)
	s.code = 111
}

// services is the directory of services, or nothing.
func (s *Stage) services() string {
	for _, dir := range s.Paths.Services {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			return dir
		}
	}
	return ""
}

// The time that processes have, together, to end by themselves in stage 3, in a
// container too, and then to be gone.
const (
	politeTime    = 3 * time.Second
	containerTime = 2 * time.Second
	killTime      = 2 * time.Second
)

// end is stage 3: the services end, then everything else, then the disks.
func (s *Stage) end() {
	if dir := s.services(); dir != "" {
		s.stop(dir)
	}
	s.endOthers()
	unix.Sync()
	if inContainer() {
		return // in a container the disks are another's
	}
	s.swapOff()
	s.unmount()
	unix.Sync()
}

// stop has the services stopped, as scripts for stage 3 do.
func (s *Stage) stop(dir string) {
	names, err := list(dir)
	s.warn("read "+dir, err)
	slices.Sort(names)
	var services []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(filepath.Join(path, "supervise/ok")); err == nil && !strings.HasPrefix(name, ".") {
			services = append(services, path)
		}
	}
	if len(services) == 0 {
		return
	}
	if os.Getenv("SVWAIT") == "" && inContainer() {
		os.Setenv("SVWAIT", "5") // not 7: container engines kill after 10, and there is more to end
	}
	for _, verb := range []string{"force-stop", "exit"} {
		for some := range slices.Chunk(services, 1000) { // well below the kernel's limit of an argument list
			s.warn("run sv "+verb, run(append([]string{"sv", verb}, some...)))
		}
	}
}

// run runs another applet of this executable to its end. What it has to say it
// says itself.
func run(argv []string) error {
	pid, err := syscall.ForkExec(Executable(), argv, &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// endOthers ends every process but this one and process 1.
func (s *Stage) endOthers() {
	unix.Kill(-1, unix.SIGTERM)
	unix.Kill(-1, unix.SIGCONT)
	limit := politeTime
	if inContainer() {
		limit = containerTime
	}
	if alone(cmp.Or(s.Wait, limit)) {
		return
	}
	fmt.Fprintf(s.Out, "- runit: processes are left that TERM does not end, sending KILL...\n")
	unix.Kill(-1, unix.SIGKILL)
	alone(killTime)
}

// alone waits until no other process is left, or for the time it is given.
func alone(limit time.Duration) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if !others() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// list names what is in a directory.
func list(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Readdirnames(-1)
}

// others says whether there are processes but this one, process 1, the
// kernel's own, and the dead. Without /proc there may always be some.
func others() bool {
	names, err := list("/proc")
	if err != nil || !slices.Contains(names, "1") {
		return true
	}
	self := os.Getpid()
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == 1 || pid == self {
			continue
		}
		text, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // it has just ended
		}
		if state, flags := parseStat(string(text)); state != "Z" && state != "X" && flags&kthread == 0 {
			return true
		}
	}
	return false
}

// kthread is the kernel's flag PF_KTHREAD: a process of the kernel itself.
const kthread = 0x00200000

// parseStat finds the state and the kernel's flags in /proc/PID/stat. The name
// before them is in parentheses and may have any character in it.
func parseStat(text string) (state string, flags uint64) {
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 7 {
		return "", 0
	}
	flags, _ = strconv.ParseUint(fields[6], 10, 64)
	return fields[0], flags
}

// swapOff ends the use of swap, whose files keep their disks busy.
func (s *Stage) swapOff() {
	text, err := os.ReadFile("/proc/swaps")
	if err != nil {
		return
	}
	for _, line := range strings.Split(string(text), "\n")[1:] {
		if fields := strings.Fields(line); len(fields) > 0 {
			s.warn("end swapping to "+fields[0], swapOff(unescape(fields[0])))
		}
	}
}

// swapOff is swapoff(2), which x/sys has no function for.
func swapOff(path string) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	if _, _, no := unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(p)), 0, 0); no != 0 {
		return no
	}
	return nil
}

// unmount takes every file system away that can be, the last mounted first;
// what is busy is made read-only.
func (s *Stage) unmount() {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		s.warn("read the mounts", err)
		unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_RDONLY, "")
		return
	}
	for _, dir := range slices.Backward(mountPoints(string(text))) {
		if kept(dir) || dir != "/" && unix.Unmount(dir, 0) == nil {
			continue
		}
		s.warn("make "+dir+" read-only", unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	}
}

// kept says whether dir is on one of the kernel's own file systems, which have
// nothing to lose.
func kept(dir string) bool {
	for _, m := range mounts {
		if dir == m.at || strings.HasPrefix(dir, m.at+"/") {
			return true
		}
	}
	return false
}

// mountPoints finds the directories in /proc/self/mountinfo.
func mountPoints(text string) []string {
	var dirs []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 4 {
			dirs = append(dirs, unescape(fields[4]))
		}
	}
	return dirs
}

// unescape undoes the octal escapes of blanks in the kernel's tables.
func unescape(text string) string {
	for i := 0; i+3 < len(text); i++ {
		if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); text[i] == '\\' && err == nil {
			text = text[:i] + string([]byte{byte(n)}) + text[i+4:]
		}
	}
	return text
}
