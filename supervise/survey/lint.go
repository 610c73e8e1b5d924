package survey

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"runitbox/supervise/policy"
	"runitbox/supervise/sys"
)

// Lint looks for what is wrong with service directories before they run, or in the way
// that they run. Tree is the directory of services that needs/ are looked up in.
type Lint struct {
	Tree string
	logs map[string]string // whose each directory of logs is
}

// Service looks at the service directory at path.
func (l *Lint) Service(name, path string) (all []Cause) {
	add := func(code, text, mend string) { all = append(all, Cause{code, text, mend}) }
	var st unix.Stat_t
	switch err := unix.Stat(path, &st); {
	case errors.Is(err, unix.ENOENT):
		if target, err := os.Readlink(path); err == nil {
			add("dangling", "it is a link to "+target+", which does not exist", "rm "+path)
		} else {
			text := path + " does not exist"
			names, _ := Entries(l.Tree)
			if near := Nearest(name, names); near != "" {
				text += "; the nearest name is " + near
			}
			add("no-directory", text, "")
		}
		return all
	case err != nil:
		return append(all, cannotLook(path, err))
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		add("not-a-directory", "it is no directory, and no service", "")
		return all
	}
	if strings.HasPrefix(name, ".") {
		add("hidden-name", "its name begins with a dot: a runsvdir does not see it", "rename it")
	} else if strings.ContainsAny(name, " \t\n") {
		add("odd-name", "its name has blanks in it, which scripts will trip over", "rename it")
	}
	if st.Mode&0o002 != 0 && st.Mode&unix.S_ISVTX == 0 {
		add("writable", "everybody may write in it, and have what runs here run something else", "chmod o-w "+path)
	}
	all = append(all, l.programs(path, "run", "finish", "check")...)
	hasLog := isDir(path + "/log")
	all = append(all, script(path, "run", hasLog)...)
	if hasLog {
		for _, c := range append(l.programs(path+"/log", "run", "finish"), script(path+"/log", "run", false)...) {
			add("log-"+c.Code, "log: "+c.Text, c.Mend)
		}
		if !sharesLog(path) {
			all = append(all, l.logDirs(name, path)...)
		}
	}
	hooks, _ := sys.ReadDir(path + "/control")
	for _, hook := range hooks {
		if len(hook.Name()) == 1 {
			all = append(all, Program(path, "control/"+hook.Name())...)
		}
	}
	all = append(all, files(path)...)
	return append(all, l.needs(name, path)...)
}

// sharesLog says whether the log of the service at path is that of another service.
func sharesLog(path string) bool {
	var log, owner unix.Stat_t
	return unix.Lstat(path+"/log", &log) == nil && log.Mode&unix.S_IFMT == unix.S_IFLNK && unix.Stat(path+"/log", &log) == nil &&
		unix.Stat(path+"/log/../log", &owner) == nil && owner.Dev == log.Dev && owner.Ino == log.Ino && unix.Stat(path+"/log/../run", &owner) == nil
}

// files looks at the files that say what runit's cannot.
func files(path string) (all []Cause) {
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	_, warnings := policy.Read(at, "", policy.List(at, "."))
	for _, name := range []string{policy.TimeoutKill, policy.TimeoutFinish, policy.TimeoutReady} {
		if _, err := policy.Timeout(at, name); err != nil {
			warnings = append(warnings, err)
		}
	}
	if _, err := policy.Needs(at); err != nil {
		warnings = append(warnings, err)
	}
	if _, err := policy.CGroup(at); err != nil && !errors.Is(err, unix.ENOENT) {
		warnings = append(warnings, err)
	}
	for _, err := range warnings {
		if errors.Is(err, unix.EACCES) { // that is said of run already
			continue
		}
		all = append(all, Cause{"not-understood", err.Error(), ""})
	}
	return all
}

// programs looks at run, which must be there, and at others, which may.
func (l *Lint) programs(dir string, names ...string) (all []Cause) {
	for _, name := range names {
		path := dir + "/" + name
		var st unix.Stat_t
		err := unix.Lstat(path, &st)
		if name != "run" && errors.Is(err, unix.ENOENT) {
			continue
		}
		all = append(all, Program(dir, name)...)
		if err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o002 != 0 {
			all = append(all, Cause{"writable", "everybody may write ./" + name, "chmod o-w " + path})
		}
	}
	return all
}

// isShell says whether a script is one that the rules below understand.
func isShell(text []byte) bool {
	line, _, _ := strings.Cut(string(text), "\n")
	words, script := strings.CutPrefix(line, "#!")
	for word := range strings.FieldsSeq(words) {
		switch filepath.Base(word) {
		case "sh", "dash", "bash", "ash", "ksh", "mksh":
			return script
		case "env", "busybox":
		default:
			return false
		}
	}
	return false
}

// foreground are the arguments of which programs that put themselves into the background
// need one not to; of other programs there are none.
func foreground(program string) []string {
	return map[string][]string{
		"nginx": {"daemon off"}, "sshd": {"-D", "-d"}, "cron": {"-f"}, "crond": {"-f", "-n", "-d"}, "atd": {"-f"},
		"dnsmasq": {"-k", "--keep-in-foreground", "-d", "--no-daemon"}, "apache2": {"FOREGROUND", "-X"}, "httpd": {"FOREGROUND", "-X", "-f"},
		"rsyslogd": {"-n"}, "syslogd": {"-n", "-F"}, "klogd": {"-n"}, "dbus-daemon": {"--nofork"}, "smbd": {"-F", "--foreground", "-i"},
		"nmbd": {"-F", "--foreground", "-i"}, "ntpd": {"-n"}, "chronyd": {"-d", "-n"}, "lighttpd": {"-D"}, "php-fpm": {"-F", "--nodaemonize"},
		"vsftpd": {"background=NO"}, "named": {"-f", "-g"}, "inetd": {"-i", "-d"}, "acpid": {"-f", "-d"}, "postfix": {"start-fg"},
		"dhcpcd": {"-B", "--nobackground"},
	}[program]
}

// away are words that send a program into the background.
var away = []string{"--daemon", "--daemonize", "--background", "--fork", "start-stop-daemon", "nohup"}

// script looks at a shell script for what supervision needs.
func script(dir, name string, hasLog bool) (all []Cause) {
	head, err := sys.Slurp(unix.AT_FDCWD, dir+"/"+name, 64<<10)
	if err != nil || !isShell(head) {
		return nil
	}
	add := func(code, text, mend string) { all = append(all, Cause{code, text, mend}) }
	lines := commands(string(head))
	if len(lines) == 0 {
		return nil
	}
	text := strings.Join(lines, "\n")
	last := lines[len(lines)-1]
	first, _, _ := strings.Cut(last, " ")
	waits := slices.Contains([]string{"exec", "wait", "done", "esac", "fi", "}", "exit"}, first)
	switch {
	case strings.HasSuffix(last, "&"):
		add("background", "./"+name+" ends with a command in the background: it looks as if the service had ended", "leave out the &, and put exec before it")
	case !waits:
		add("no-exec", "the last command of ./"+name+" is not begun by exec: signals reach the shell and not the service", "exec "+last)
	}
	if hasLog && !strings.Contains(text, "2>&1") && !strings.Contains(text, "2>") && !strings.Contains(text, "--stderr") && !strings.Contains(text, "fdmove") {
		add("stderr", "what ./"+name+" says on standard error does not reach its log service", "exec 2>&1 near its beginning")
	}
	for word := range strings.FieldsSeq(text) {
		if slices.Contains(away, word) {
			add("forks-away", "./"+name+" has it put itself into the background ("+word+"): it looks as if the service had ended", "run it in the foreground")
			return all
		}
	}
	for _, word := range strings.Fields(last) {
		base := filepath.Base(word)
		wanted := foreground(base)
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return strings.Contains(last, w) }) {
			add("forks-away", base+" puts itself into the background unless it is told otherwise", "give it "+wanted[0])
			break
		}
	}
	return all
}

// commands are the commands of a script, as far as its lines and semicolons tell.
func commands(text string) (lines []string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		for part := range strings.SplitSeq(line, "; ") {
			if part = strings.TrimSpace(part); part != "" {
				lines = append(lines, part)
			}
		}
	}
	return lines
}

// logDirs looks at where the log service writes.
func (l *Lint) logDirs(name, path string) (all []Cause) {
	text, err := sys.Slurp(unix.AT_FDCWD, path+"/log/run", 64<<10)
	if err != nil || !isShell(text) {
		return nil
	}
	lines := commands(string(text))
	if len(lines) == 0 {
		return nil
	}
	words := strings.FieldsFunc(lines[len(lines)-1], func(r rune) bool { return strings.ContainsRune(" \t\"'", r) })
	at := slices.IndexFunc(words, func(w string) bool { return filepath.Base(w) == "svlogd" })
	if at < 0 {
		return nil
	}
	for i := at + 1; i < len(words); i++ {
		word := words[i]
		switch {
		case word == "-r" || word == "-R" || word == "-l" || word == "-b":
			i++
			continue
		case word[0] == '-' || strings.ContainsAny(word, "$`*?"):
			continue
		}
		dir := word
		if !filepath.IsAbs(dir) {
			dir = path + "/log/" + dir
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			dir = real
		}
		dir = filepath.Clean(dir)
		if l.logs == nil {
			l.logs = map[string]string{}
		}
		if other := l.logs[dir]; other != "" && other != name {
			all = append(all, Cause{"same-log", "it logs into " + dir + ", as " + other + " does: only one logger can", "give each its own"})
		}
		l.logs[dir] = name
		var st unix.Stat_t
		switch err := unix.Stat(dir, &st); {
		case errors.Is(err, unix.ENOENT):
			if made := string(text); !strings.Contains(made, "mkdir") && !strings.Contains(made, "install -d") {
				all = append(all, Cause{"no-log-directory", "its log directory does not exist: " + dir, "mkdir -p " + dir})
			}
		case err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR:
			all = append(all, Cause{"no-log-directory", "its log directory is none: " + dir, ""})
		case err == nil && st.Mode&0o222 == 0:
			all = append(all, Cause{"log-unwritable", "nobody may write into its log directory: " + dir, "chmod u+w " + dir})
		}
	}
	return all
}

// needs looks for the services in needs/, and for circles.
func (l *Lint) needs(name, path string) (all []Cause) {
	for _, other := range namesIn(path) {
		if _, err := os.Stat(l.Tree + "/" + other); os.IsNotExist(err) {
			all = append(all, Cause{"no-such-need", "it needs " + other + ", which is not in " + l.Tree, "sv enable " + other})
		}
	}
	came := map[string]string{}
	for queue := []string{path}; len(queue) > 0; queue = queue[1:] {
		for _, other := range namesIn(queue[0]) {
			next := l.Tree + "/" + other
			if _, been := came[next]; been {
				continue
			}
			came[next] = queue[0]
			if other != name {
				queue = append(queue, next)
				continue
			}
			way := name
			for at := queue[0]; at != path; at = came[at] {
				way = filepath.Base(at) + " needs " + way
			}
			return append(all, Cause{"needs-circle", name + " needs " + way + ", in a circle: it is broken where its youngest entry is", ""})
		}
	}
	return all
}

// namesIn are what the service directory at path needs.
func namesIn(path string) []string {
	at, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(at)
	names, _ := policy.Needs(at)
	return names
}
