package applets

import (
	"bytes"
	"cmp"
	"debug/elf"
	bin "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The recipes in testdata/boot are systems that boot: first lines that say what
// is expected, then the files of the root file system.
//
//	kernel ARG...     boot it with a real kernel (user-mode-linux, or qemu's)
//	container ARG...  and as process 1 of a PID namespace, started so
//	oracle            the container shows the same with Debian's runit
//	uncapable         the container may neither call reboot(2) nor mount
//	limits WORD...    the container may do less (see limit)
//	readonly          the container's root file system is read-only, and /run a tmpfs
//	mapped            the container's root is an ordinary user of the machine
//	terminal          the container's console is a terminal
//	terminal own      which its manager has made process 1's own, as docker -t does
//	hangup            it hangs up, and nothing more is seen of what is said
//	nproc N           process 1 may have so many processes from now on
//	stall             from now on nobody reads what the container says
//	file HOSTPATH PATH, link TARGET PATH, node PATH MAJOR MINOR, dir PATH, mode OCTAL PATH
//	want TEXT         a line with this text comes, after the one wanted before
//	first TEXT        what is said begins with this
//	has TEXT          a line has this text, wherever: what several say has no order
//	never TEXT        no line has this text
//	setup ARG...      what runitbox setup writes is there; files of the recipe take its places
//	touch PATH        a file appears in the container
//	appears PATH      the container itself has made that file
//	type TEXT         somebody types that line on the console
//	cad               press ctrl-alt-del (INT to process 1 in a container)
//	signal NAME       the container's process 1 gets it
//	within TIME       it has ended so long after the last signal
//	ends HOW          how it looks from outside: off, halted, restarts; exit N, killed N
//
// /init, /sbin/runit and /sbin/runit-init are the executable, and /bin/busybox
// is there with links for its usual names.
type recipe struct {
	name      string
	kernel    []string // nil: none
	container []string
	oracle    bool
	uncapable bool
	readonly  bool
	limits    []string
	mapped    bool
	terminal  string // "", "lent" or "own"
	steps     []bootStep
	has       []string
	never     []string
	files     map[string]bootFile
}

// bootStep is a line of the recipe that is done in its turn.
type bootStep struct{ verb, text string }

// bootFile is a file of a root file system.
type bootFile struct {
	mode uint32 // as stat says it, with the type
	data []byte // a link's target
	dev  [2]uint32
}

// utilities are the names that busybox is linked under.
var utilities = strings.Fields("sh sleep cat ps mount umount mkdir rm ls chmod touch kill echo grep ln true false tty cp wc stat hostname ip test env seq chroot cut usleep mkfifo setsid head tail readlink")

// readRecipe reads one file of testdata/boot.
func readRecipe(t *testing.T, file, init string) *recipe {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &recipe{name: strings.TrimSuffix(filepath.Base(file), ".txt"), files: map[string]bootFile{}}
	for _, dir := range []string{"proc", "sys", "dev", "run", "tmp", "bin", "etc/runit"} {
		r.files[dir] = bootFile{mode: unix.S_IFDIR | 0o755}
	}
	r.files["dev/console"] = bootFile{mode: unix.S_IFCHR | 0o600, dev: [2]uint32{5, 1}}
	r.files["dev/null"] = bootFile{mode: unix.S_IFCHR | 0o666, dev: [2]uint32{1, 3}}
	for _, name := range utilities {
		r.files["bin/"+name] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte("busybox")}
	}
	r.copy(t, init, "init")
	for _, c := range commands {
		r.files["sbin/"+c.name] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte("/init")}
	}
	r.copy(t, peer(t, "busybox"), "bin/busybox")

	body, files := unpack(string(text))
	for name, content := range files {
		mode := uint32(unix.S_IFREG | 0o644)
		if strings.HasPrefix(content, "#!") {
			mode = unix.S_IFREG | 0o755
		}
		r.files[name] = bootFile{mode: mode, data: []byte(content)}
	}
	for line := range strings.Lines(body) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		args := strings.Fields(rest)
		switch verb {
		case "", "#":
		case "kernel":
			r.kernel = append([]string{"quiet"}, args...)
		case "container":
			r.container = args
		case "oracle":
			r.oracle = true
		case "uncapable":
			r.uncapable = true
		case "readonly":
			r.readonly = true
		case "limits":
			r.limits = args
		case "mapped":
			r.mapped = true
		case "terminal":
			r.terminal = cmp.Or(rest, "lent")
		case "link":
			r.files[args[1]] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte(args[0])}
		case "dir":
			r.files[args[0]] = bootFile{mode: unix.S_IFDIR | 0o755}
		case "setup":
			r.setup(t, init, args)
		case "remove":
			delete(r.files, args[0])
		case "mode":
			m, err := strconv.ParseUint(args[0], 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			f := r.files[args[1]]
			f.mode = f.mode&unix.S_IFMT | uint32(m)
			r.files[args[1]] = f
		case "has":
			r.has = append(r.has, rest)
		case "never":
			r.never = append(r.never, rest)
		case "want", "first", "cad", "type", "signal", "ends", "within", "nproc", "touch", "appears", "hangup", "stall":
			r.steps = append(r.steps, bootStep{verb, rest})
		default:
			t.Fatalf("%s: what is %q?", file, line)
		}
	}
	return r
}

// copy puts a file of this machine into the root file system.
func (r *recipe) copy(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	r.files[to] = bootFile{mode: unix.S_IFREG | 0o755, data: data}
}

// setup has this machine's executable write what `runitbox setup` does into the root file system.
func (r *recipe) setup(t *testing.T, exe string, args []string) {
	t.Helper()
	root := t.TempDir()
	cmd := exec.Command(exe, append(append([]string{"setup"}, args...), "--root", root)...)
	cmd.Args[0] = "runitbox"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", cmd.Args, err, out)
	}
	err := filepath.WalkDir(root, func(at string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, at)
		if _, given := r.files[name]; given || name == "." {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		f := bootFile{mode: unix.S_IFREG | uint32(info.Mode().Perm())}
		switch {
		case d.IsDir():
			f.mode = unix.S_IFDIR | uint32(info.Mode().Perm())
		case !info.Mode().IsRegular():
			to, err := os.Readlink(at)
			r.files[name] = bootFile{mode: unix.S_IFLNK | 0o777, data: []byte(to)}
			return err
		default:
			f.data, err = os.ReadFile(at)
		}
		r.files[name] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// copyWithLibraries puts a program of this machine and the libraries it needs
// into the root file system.
func (r *recipe) copyWithLibraries(t *testing.T, from, to string) {
	t.Helper()
	r.copy(t, from, to)
	f, err := elf.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p := f.Section(".interp"); p != nil {
		data, err := p.Data()
		if err != nil {
			t.Fatal(err)
		}
		interp := string(bytes.TrimRight(data, "\x00"))
		r.copy(t, interp, strings.TrimPrefix(interp, "/"))
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	for _, lib := range libs {
		found, _ := filepath.Glob("/lib/*-linux-*/" + lib)
		if len(found) == 0 {
			skip(t, "no "+lib+" on this machine")
		}
		r.copy(t, found[0], "lib/"+lib)
	}
}

// paths are the files in an order in which they can be made: directories
// before what is in them, whether the recipe names them or not.
func (r *recipe) paths() ([]string, map[string]bootFile) {
	files := maps.Clone(r.files)
	for name := range r.files {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if _, ok := files[dir]; !ok {
				files[dir] = bootFile{mode: unix.S_IFDIR | 0o755}
			}
		}
	}
	return slices.Sorted(maps.Keys(files)), files
}

// writeImage writes the root file system as the kernel wants an initramfs: a
// cpio archive in the format newc.
func (r *recipe) writeImage(w io.Writer) error {
	var b bytes.Buffer
	pad := func() {
		for b.Len()%4 != 0 {
			b.WriteByte(0)
		}
	}
	entry := func(ino int, name string, f bootFile) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ino, f.mode, 0, 0, 1, 0,
			len(f.data), 0, 0, f.dev[0], f.dev[1], len(name)+1, 0)
		b.WriteString(name + "\x00")
		pad()
		b.Write(f.data)
		pad()
	}
	names, files := r.paths()
	for i, name := range names {
		entry(i+1, name, files[name])
	}
	entry(0, "TRAILER!!!", bootFile{})
	_, err := w.Write(b.Bytes())
	return err
}

// writeTree writes the root file system as a directory.
func (r *recipe) writeTree(root string) error {
	names, files := r.paths()
	for _, name := range names {
		f, at := files[name], filepath.Join(root, name)
		var err error
		switch f.mode & unix.S_IFMT {
		case unix.S_IFDIR:
			err = os.MkdirAll(at, fs.FileMode(f.mode&0o777))
		case unix.S_IFLNK:
			err = os.Symlink(string(f.data), at)
		case unix.S_IFCHR:
			if name != "dev/console" { // a container has none
				err = unix.Mknod(at, f.mode, int(unix.Mkdev(f.dev[0], f.dev[1])))
			}
		default:
			err = writeFile(at, f.data, fs.FileMode(f.mode&0o777))
		}
		if err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// bootLimit is when a boot has hung. It is for a machine that is very busy.
const bootLimit = 3 * time.Minute

// guest is a system that runs.
type guest struct {
	t     *testing.T
	name  string
	begin time.Time
	cmd   *exec.Cmd
	ended chan error
	end   func(sig unix.Signal) error // signal to process 1
	cad   func() error
	on    *hypervisor // nil: a container
	root  string      // of a container
	tty   *os.File    // the other end of its terminal
	heard chan bool   // closed when all that it has said there is read; nil: it has no terminal
	keys  io.Writer   // what is typed on its console

	mu    sync.Mutex
	text  []byte
	at    int           // what is before has been seen by wait
	grown chan struct{} // closed when text has grown
	stall sync.Mutex    // held while nobody reads
}

// Write takes what the console says.
func (g *guest) Write(p []byte) (int, error) {
	g.stall.Lock()
	g.stall.Unlock() //lint:ignore SA2001 once it is not stalled
	g.mu.Lock()
	defer g.mu.Unlock()
	g.text = append(g.text, bytes.ReplaceAll(p, []byte("\r"), nil)...)
	close(g.grown)
	g.grown = make(chan struct{})
	return len(p), nil
}

// fail ends the test and shows the console.
func (g *guest) fail(format string, args ...any) {
	g.t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.t.Fatalf("%s: %s, %v after the start; the console:\n%s", g.name, fmt.Sprintf(format, args...), time.Since(g.begin).Round(time.Millisecond), g.text)
}

// wait waits for text on the console, behind what was waited for before.
func (g *guest) wait(text string) {
	g.t.Helper()
	limit := time.After(bootLimit)
	for over := false; ; {
		g.mu.Lock()
		i := bytes.Index(g.text[g.at:], []byte(text))
		if i >= 0 {
			g.at += i + len(text)
		}
		panicked := bytes.Contains(g.text, []byte("Kernel panic"))
		ended := slices.ContainsFunc(lastWords, func(w string) bool { return bytes.Contains(g.text[g.at:], []byte(w)) })
		grown := g.grown
		g.mu.Unlock()
		switch {
		case i >= 0:
			return
		case panicked:
			g.fail("the kernel panics before %q", text)
		case over, ended:
			g.fail("it has ended without %q", text)
		}
		select {
		case <-grown:
		case err := <-g.ended:
			g.ended <- err
			over = true
		case <-limit:
			g.fail("it hangs: no %q", text)
		}
	}
}

// stalled waits for the end of a guest that nobody reads from, and reads again.
func (g *guest) stalled() {
	g.t.Helper()
	defer g.stall.Unlock()
	for limit := time.Now().Add(bootLimit); g.cmd.Process.Signal(syscall.Signal(0)) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			g.fail("it hangs while nobody reads what it says")
		}
	}
}

// done waits for the end, from outside.
func (g *guest) done() error {
	g.t.Helper()
	select {
	case err := <-g.ended:
		g.ended <- err
		return err
	case <-time.After(bootLimit):
		g.fail("it hangs: it does not end")
		return nil
	}
}

// run starts the guest's process and sees to its end.
func (g *guest) run() {
	g.t.Helper()
	g.begin, g.ended, g.grown = time.Now(), make(chan error, 1), make(chan struct{})
	if g.tty == nil {
		g.cmd.Stdout, g.cmd.Stderr = g, g
	}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	go func() {
		err := g.cmd.Wait()
		if g.heard != nil {
			<-g.heard
		}
		g.ended <- err
	}()
	g.t.Cleanup(func() {
		g.cmd.Process.Kill()
		<-g.ended
	})
}

// hypervisor runs a kernel: user-mode-linux, which is both, or qemu.
type hypervisor struct {
	name    string
	files   func() error // what it needs is here, or what is missing
	command func(dir, image string, args []string) *exec.Cmd
	cad     func(dir string) error // press ctrl-alt-del
	ends    map[string]kernelEnd
}

// kernelEnd is one of the ends that a recipe can want: what the kernel says last,
// and whether its process must end then.
type kernelEnd struct {
	says  string
	exits bool
}

// lastWords are what a kernel says at its end.
var lastWords = []string{"reboot: System halted", "reboot: Power down", "reboot: Restarting system"}

// hypervisors are in the order in which they are tried. User-mode-linux takes half
// a second to boot, but runs no program on processors that have more registers than
// it knows of. Qemu emulates a processor: KVM would be faster, but there are
// machines with a /dev/kvm that runs nothing.
var hypervisors = []*hypervisor{
	{
		name:    "user-mode-linux",
		files:   func() error { return present("usr/bin/linux.uml") },
		command: umlCommand,
		cad:     func(dir string) error { return mconsole(filepath.Join(dir, "u", "mconsole"), "cad") },
		// A restart is its own matter: it finds itself again, and now and then aborts.
		ends: map[string]kernelEnd{"off": {lastWords[0], true}, "halted": {lastWords[0], true}, "restarts": {lastWords[2], false}},
	},
	{
		name:    "qemu",
		files:   func() error { return present(qemuProgram, qemuKernel) },
		command: qemuCommand,
		cad:     func(dir string) error { return sendKeys(filepath.Join(dir, "qmp"), "ctrl", "alt", "delete") },
		ends:    map[string]kernelEnd{"off": {lastWords[1], true}, "halted": {lastWords[0], false}, "restarts": {lastWords[2], true}},
	},
}

// What qemu needs is below a directory of its own among the peers.
const (
	qemuProgram = "qemu/usr/bin/qemu-system-x86_64"
	qemuKernel  = "qemu/boot/vmlinuz-*"
)

// peerFiles are the files that match a pattern among the peers.
func peerFiles(pattern string) []string {
	dir, err := filepath.Abs(peersDir())
	if err != nil {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(dir, pattern))
	return files
}

// present tells which pattern matches nothing among the peers.
func present(patterns ...string) error {
	for _, p := range patterns {
		if len(peerFiles(p)) == 0 {
			return fmt.Errorf("no %s among the peers (make peers)", p)
		}
	}
	return nil
}

// umlCommand boots with user-mode-linux. Half of the time that it takes is for
// finding out how fast its RAID is, and for counting how fast it counts.
func umlCommand(dir, image string, args []string) *exec.Cmd {
	cmd := exec.Command(peerFiles("usr/bin/linux.uml")[0], append([]string{
		"initcall_blacklist=raid6_select_algo,calibrate_xor_blocks", "lpj=10000000", "mem=128M",
		"initrd=" + image, "uml_dir=" + dir, "umid=u", "con=null", "con0=fd:0,fd:1"}, args...)...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")} // without TMPDIR it finds /dev/shm for its memory
	return cmd
}

// qemuCommand boots Debian's kernel with qemu, which ends where the kernel powers
// off or restarts, or panics.
func qemuCommand(dir, image string, args []string) *exec.Cmd {
	options := []string{
		"-nodefaults", "-no-user-config", "-machine", "pc,accel=tcg", "-cpu", "qemu64,+rdrand", "-m", "512", "-no-reboot",
		"-display", "none", "-serial", "stdio", "-qmp", "unix:" + filepath.Join(dir, "qmp") + ",server=on,wait=off",
		"-kernel", peerFiles(qemuKernel)[0], "-initrd", image,
		"-append", strings.Join(append([]string{"console=ttyS0", "panic=-1"}, args...), " "),
	}
	for _, data := range peerFiles("qemu/usr/share/*") {
		options = append(options, "-L", data)
	}
	cmd := exec.Command(peerFiles(qemuProgram)[0], options...)
	libraries := append(peerFiles("qemu/usr/lib/*-linux-gnu"), peerFiles("qemu/lib/*-linux-gnu")...)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
	return cmd
}

// bootKernel boots the image of r with a kernel on h.
func bootKernel(t *testing.T, r *recipe, h *hypervisor) *guest {
	t.Helper()
	// The path of a socket is in it, which must be short.
	dir, err := os.MkdirTemp("", "boot")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	image, err := os.Create(filepath.Join(dir, "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.writeImage(image); err != nil {
		t.Fatal(err)
	}
	image.Close()
	args := slices.Clone(r.kernel)
	if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "rdinit=") }) {
		args = append(args, "rdinit=/init")
	}
	g := &guest{t: t, name: r.name + " with a kernel on " + h.name, on: h}
	cmd := h.command(dir, image.Name(), args)
	env := cmd.Env
	g.cmd = contained(t, cmd)
	g.cmd.Env = env
	g.cad = func() error { return h.cad(dir) }
	in, out, err := os.Pipe() // a console that is never at its end
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); out.Close() })
	g.cmd.Stdin, g.keys = in, out
	g.run()
	return g
}

// kernelHost is the hypervisor that runs programs here, found once, or why there is none.
var kernelHost struct {
	sync.Once
	h   *hypervisor
	why []string
}

// needKernel finds what boots a kernel, and skips the test where nothing does.
func needKernel(t *testing.T) *hypervisor {
	t.Helper()
	kernelHost.Do(func() {
		for _, h := range hypervisors {
			err := h.files()
			if err == nil && runsPrograms(t, h) {
				kernelHost.h = h
				return
			}
			if err == nil {
				err = errors.New("it runs no program on this processor")
			}
			kernelHost.why = append(kernelHost.why, h.name+": "+err.Error())
		}
	})
	if kernelHost.h == nil {
		skip(t, "no kernel boots: "+strings.Join(kernelHost.why, "; "))
	}
	return kernelHost.h
}

// runsPrograms boots h with /bin/true for process 1: that ends, the kernel panics,
// and says with which code it has ended.
func runsPrograms(t *testing.T, h *hypervisor) bool {
	t.Helper()
	probe := &recipe{name: "/bin/true", kernel: []string{"quiet", "rdinit=/bin/true"}, files: map[string]bootFile{
		"dev/console": {mode: unix.S_IFCHR | 0o600, dev: [2]uint32{5, 1}},
		"bin/true":    {mode: unix.S_IFLNK | 0o777, data: []byte("busybox")},
	}}
	probe.copy(t, peer(t, "busybox"), "bin/busybox")
	g := bootKernel(t, probe, h)
	g.done()
	g.mu.Lock()
	defer g.mu.Unlock()
	return bytes.Contains(g.text, []byte("exitcode=0x00000000"))
}

// sendKeys presses keys together on the keyboard of a qemu whose QMP socket this is.
func sendKeys(socket string, keys ...string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(bootLimit))
	var codes []string
	for _, k := range keys {
		codes = append(codes, fmt.Sprintf(`{"type": "qcode", "data": %q}`, k))
	}
	answers := json.NewDecoder(conn)
	for _, command := range []string{
		`{"execute": "qmp_capabilities"}`,
		`{"execute": "send-key", "arguments": {"keys": [` + strings.Join(codes, ", ") + `]}}`,
	} {
		if _, err := io.WriteString(conn, command); err != nil {
			return err
		}
		for answered := false; !answered; { // it greets, and tells of events
			var answer struct{ Return, Error json.RawMessage }
			if err := answers.Decode(&answer); err != nil {
				return err
			}
			if answer.Error != nil {
				return fmt.Errorf("qemu: %s: %s", command, answer.Error)
			}
			answered = answer.Return != nil
		}
	}
	return nil
}

// mconsole asks a user-mode-linux for something, as uml_mconsole does.
func mconsole(socket, command string) error {
	here := filepath.Join(filepath.Dir(socket), "test")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: here, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer os.Remove(here)
	defer conn.Close()
	request := bin.LittleEndian.AppendUint32(nil, 0xcafebabe)
	request = bin.LittleEndian.AppendUint32(request, 2)
	request = bin.LittleEndian.AppendUint32(request, uint32(len(command)))
	request = append(request, command...)
	request = append(request, make([]byte, 12+512-len(request))...)
	if _, err := conn.WriteToUnix(request, &net.UnixAddr{Name: socket, Net: "unixgram"}); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(bootLimit))
	_, err = conn.Read(make([]byte, 1024))
	return err
}

// containerInit becomes argv[1] as process 1 of a container whose root file
// system is argv[0]; with "uncapable" in argv[1] it may do as little as docker
// allows, with "readonly" the root is read-only.
func containerInit(argv []string) int {
	failed := func(what string, err error) int {
		fmt.Fprintln(os.Stderr, "container-init:", what+":", err)
		return 125
	}
	runtime.LockOSThread() // what it may do is the thread's
	unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	root, limits, argv := argv[0], strings.Fields(argv[1]), argv[2:]
	if slices.Contains(limits, "readonly") {
		if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
			return failed("mount", err)
		}
		if err := unix.Mount("tmpfs", filepath.Join(root, "run"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			return failed("mount", err)
		}
		if err := unix.Mount("", root, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return failed("mount", err)
		}
	}
	if slices.Contains(limits, "noproc") {
		// none
	} else if err := unix.Mount("proc", filepath.Join(root, "proc"), "proc", 0, ""); err != nil && !errors.Is(err, unix.EPERM) { // a user's namespace may have none
		return failed("mount", err)
	}
	if tty, err := os.Readlink("/proc/self/fd/0"); err == nil && strings.HasPrefix(tty, "/dev/pts/") {
		console := filepath.Join(root, "dev/console")
		if err := unix.Mount(tty, console, "", unix.MS_BIND, ""); err != nil {
			return failed("mount the console", err)
		}
	}
	if err := unix.Chroot(root); err != nil {
		return failed("chroot", err)
	}
	if err := os.Chdir("/"); err != nil {
		return failed("chdir", err)
	}
	if slices.Contains(limits, "uncapable") {
		for _, c := range []uintptr{unix.CAP_SYS_BOOT, unix.CAP_SYS_ADMIN} {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
				return failed("drop capabilities", err)
			}
		}
	}
	if err := limit(limits); err != nil {
		return failed("limit", err)
	}
	return failed(argv[0], syscall.Exec(argv[0], argv, os.Environ()))
}

// bootContainer starts r as process 1 of a PID namespace.
func bootContainer(t *testing.T, r *recipe, who string) *guest {
	t.Helper()
	needNamespaces(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := r.writeTree(root); err != nil {
		t.Fatal(err)
	}
	argv := r.container
	if len(argv) == 0 {
		argv = []string{"/sbin/runit"}
	}
	limits := strings.Join(append([]string{"limits"}, r.limits...), " ")
	if r.uncapable {
		limits += " uncapable"
	}
	if r.readonly {
		limits += " readonly"
	}
	cmd := exec.Command(self)
	cmd.Args = append([]string{"container-init", root, limits}, argv...)
	cmd.Env = []string{"HOME=/", "TERM=linux"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC,
		Pdeathsig:  unix.SIGKILL,
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if r.mapped && uid == 0 {
		uid, gid = 54321, 54321
		cmd.SysProcAttr.Credential = &syscall.Credential{NoSetGroups: true} // its root
		copied, err := os.ReadFile(self)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Path = filepath.Join(root, "container-init")
		if err := writeFile(cmd.Path, copied, 0o755); err != nil {
			t.Fatal(err)
		}
		for dir := root; dir != "/"; dir = filepath.Dir(dir) { // it must be able to get there
			if info, err := os.Stat(dir); err == nil && info.Mode()&0o005 != 0o005 {
				if err := os.Chmod(dir, info.Mode()|0o055); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if uid != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: gid, Size: 1}}
	}
	g := &guest{t: t, name: r.name + " in a container, " + who, cmd: cmd, root: root}
	g.end = func(sig unix.Signal) error { return cmd.Process.Signal(sig) }
	g.cad = func() error { return cmd.Process.Signal(unix.SIGINT) }
	if r.terminal == "" {
		g.run()
		return g
	}
	if err := os.WriteFile(filepath.Join(root, "dev/console"), nil, 0o666); err != nil { // what it is mounted on
		t.Fatal(err)
	}
	tty, peer := terminal(t)
	g.tty, g.keys, g.heard = tty, tty, make(chan bool)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = peer, peer, peer
	cmd.SysProcAttr.Setsid = r.terminal == "own"
	cmd.SysProcAttr.Setctty = r.terminal == "own"
	g.run()
	peer.Close()
	go func() {
		io.Copy(g, tty) // until it is closed, or nobody has the other end
		close(g.heard)
	}()
	return g
}

// terminal makes a pseudoterminal.
func terminal(t *testing.T) (tty, peer *os.File) {
	t.Helper()
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		skip(t, "no terminals here: "+err.Error())
	}
	t.Cleanup(func() { tty.Close() })
	raw, err := tty.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err != nil {
			return
		}
		var n int
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
			peer, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return tty, peer
}

// follow does the steps of a recipe.
func (g *guest) follow(r *recipe) {
	g.t.Helper()
	var asked time.Time
	for _, s := range r.steps {
		switch s.verb {
		case "want":
			g.wait(s.text)
		case "first":
			g.mu.Lock()
			begins := bytes.HasPrefix(g.text, []byte(s.text))
			g.mu.Unlock()
			if !begins {
				g.fail("it does not begin with %q", s.text)
			}
		case "cad":
			if err := g.cad(); err != nil {
				g.fail("ctrl-alt-del: %v", err)
			}
		case "type":
			if _, err := io.WriteString(g.keys, s.text+"\n"); err != nil {
				g.fail("to type %s: %v", s.text, err)
			}
		case "signal":
			sig := unix.SignalNum("SIG" + s.text)
			if n, err := strconv.Atoi(s.text); err == nil {
				sig = unix.Signal(n)
			}
			if g.end == nil {
				break // only from within, with a kernel
			}
			asked = time.Now()
			if err := g.end(sig); err != nil {
				g.fail("%s: %v", s.text, err)
			}
		case "nproc":
			n, err := strconv.ParseUint(s.text, 10, 64)
			if err != nil {
				g.t.Fatal(err)
			}
			if err := unix.Prlimit(g.cmd.Process.Pid, unix.RLIMIT_NPROC, &unix.Rlimit{Cur: n, Max: 10000}, nil); err != nil {
				g.fail("prlimit: %v", err)
			}
		case "touch":
			if err := os.WriteFile(filepath.Join(g.root, s.text), nil, 0o644); err != nil {
				g.fail("%v", err)
			}
		case "appears":
			for limit := time.Now().Add(bootLimit); ; time.Sleep(10 * time.Millisecond) {
				if _, err := os.Lstat(filepath.Join(g.root, s.text)); err == nil {
					break
				} else if time.Now().After(limit) {
					g.fail("%v", err)
				}
			}
		case "hangup":
			g.tty.Close()
		case "stall":
			g.stall.Lock()
			g.stalled()
		case "ends":
			g.ends(s.text)
		case "within":
			limit, err := time.ParseDuration(s.text)
			if err != nil {
				g.t.Fatal(err)
			}
			if took := time.Since(asked); took > limit {
				g.fail("it took %v to end, want %v at most", took, limit)
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, text := range r.has {
		if !bytes.Contains(g.text, []byte(text)) {
			g.t.Errorf("%s: %q is not on the console:\n%s", g.name, text, g.text)
		}
	}
	for _, text := range r.never {
		if bytes.Contains(g.text, []byte(text)) {
			g.t.Errorf("%s: %q is on the console:\n%s", g.name, text, g.text)
		}
	}
}

// ends checks how the guest ends. "ends halted, killed 2" is for a kernel
// before the comma, and for a container behind it. What the kernel says last
// counts, and that its process ends then, where it does.
func (g *guest) ends(how string) {
	g.t.Helper()
	inKernel, inContainer, both := strings.Cut(how, ", ")
	if g.on != nil {
		end, ok := g.on.ends[inKernel]
		if !ok {
			g.t.Fatalf("what is the end %q?", inKernel)
		}
		g.wait(end.says)
		if end.exits {
			g.done()
		}
		return
	}
	if both {
		how = inContainer
	}
	g.done()
	ws := g.cmd.ProcessState.Sys().(syscall.WaitStatus)
	got := fmt.Sprintf("exit %d", ws.ExitStatus())
	if ws.Signaled() {
		got = fmt.Sprintf("killed %d", ws.Signal())
	}
	if got != how {
		g.fail("it ends with %s, want %s", got, how)
	}
}

// bootRecipes are the files of testdata/boot, and the executable that boots.
func bootRecipes(t *testing.T) (paths []string, init string) {
	t.Helper()
	if testing.Short() {
		skip(t, "boots with busybox of the peers")
	}
	init, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	paths, err = filepath.Glob("../testdata/boot/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatal("no recipes:", err)
	}
	return paths, init
}

// TestBootKernel boots every recipe that says so with a kernel. Those are work from their
// beginning to their end: two run at a time, and in one test, since what only waits for its
// turn would keep others from theirs.
func TestBootKernel(t *testing.T) {
	t.Parallel()
	paths, init := bootRecipes(t)
	recipes := make(chan *recipe)
	var over sync.WaitGroup
	defer func() { close(recipes); over.Wait() }()
	for range 2 {
		over.Go(func() {
			for r := range recipes {
				t.Run(r.name, func(t *testing.T) { bootKernel(t, r, needKernel(t)).follow(r) })
			}
		})
	}
	for _, path := range paths {
		if r := readRecipe(t, path, init); r.kernel != nil {
			recipes <- r
		}
	}
}

// TestBoot boots every recipe as a container. (What is parallel within what is parallel comes
// last of all, and some of these do little but wait.)
func TestBoot(t *testing.T) {
	t.Parallel()
	paths, init := bootRecipes(t)
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			r := readRecipe(t, path, init)
			if r.container != nil {
				t.Run("container", func(t *testing.T) {
					bootContainer(t, r, "with runitbox").follow(r)
				})
			}
			if r.oracle {
				t.Run("oracle", func(t *testing.T) {
					o := readRecipe(t, path, init)
					o.copyWithLibraries(t, peer(t, "runit"), "sbin/runit")
					for i := range o.steps { // runit's calls reboot(2), and the kernel ends it
						if s := &o.steps[i]; s.verb == "ends" {
							s.text = strings.ReplaceAll(s.text, "exit 0", "killed 2")
						}
					}
					bootContainer(t, o, "with Debian's runit").follow(o)
				})
			}
		})
	}
}
