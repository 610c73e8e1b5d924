package applets

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"runitbox/applets/logrun"
	"runitbox/applets/slim/fmt"
	"runitbox/supervise/loghost"
)

// newRsvlog is a whole log service: linked as log/run it finds the directory
// for the lines, gives up its privileges and becomes svlogd, in this process.
func newRsvlog(argv0 string) *cobra.Command {
	who := filepath.Base(argv0)
	if who != "nsvlog" { // argv[0] may be ./run
		who = "rsvlog"
	}
	var flags loggerFlags
	line := who + loggerUsage + " [base]"
	cmd := &cobra.Command{
		Use:   line,
		Short: "be the log service of the service that it is linked into",
		RunE: func(cmd *cobra.Command, args []string) error {
			if flags.version {
				return misuse{note: "runitbox " + version, line: line, status: 1}
			}
			if len(args) > 1 || len(args) == 1 && !filepath.IsAbs(args[0]) {
				return misuse{line: line, status: 1}
			}
			base := logrun.Base
			if len(args) == 1 {
				base = args[0]
			}
			return logService(who, base, cmd, &flags, len(args))
		},
	}
	flags.add(cmd)
	getoptErrors(cmd, argv0, line, 1)
	return cmd
}

// logService finds the place and becomes its logger. Failures are told and
// then tried again by runsv.
func logService(who, base string, cmd *cobra.Command, flags *loggerFlags, operands int) error {
	if loghost.Built && loghost.Settled() {
		return nil
	}
	warn := func(err error) { fmt.Fprintf(os.Stderr, "%s: warning: %s\n", who, words(err)) }
	failed := func(err error) error { return fatal{who, 111, err} }
	service, err := logrun.Here()
	if errors.Is(err, logrun.ErrNotHere) {
		return fatal{who, 1, err}
	}
	if err != nil {
		return failed(err)
	}
	conf, err := readConf(service, os.LookupEnv, shellValues)
	if err != nil {
		return failed(fmt.Errorf("unable to read %s/conf: %w", service.Dir, err))
	}
	if yes(conf, "SV_LOG_SYSLOG") {
		return toSyslog(service.Name, conf["SV_LOG_SYSLOG_PRIORITY"])
	}
	place, err := findLog(service, base, conf, warn)
	if err != nil {
		return failed(err)
	}
	// It is read as whoever may read the service's directory, and written as
	// the logs' owner, who can have put anything there.
	config, found, err := service.Config()
	if err != nil {
		warn(err) // the one that is there stays
	}
	setComm("svlogd") // which another user may not
	if place.Owner != nil {
		if err := place.Owner.Become(); err != nil {
			return failed(fmt.Errorf("unable to become the owner of %s: %w", place.Dir, err))
		}
	}
	if found {
		if err := logrun.PutConfig(place.Dir, config); err != nil {
			warn(err)
		}
	}
	// svlogd comes back to where it began, which need not be open to its user.
	if fd, err := unix.Open(".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		unix.Close(fd)
	} else if err := os.Chdir(place.Dir); err != nil {
		return failed(fmt.Errorf("unable to change to %s: %w", place.Dir, errors.Unwrap(err)))
	}
	options, set := svlogdOptions(conf, *flags != loggerFlags{})
	o, ok := flags.options(cmd, []string{place.Dir})
	given := arguments()
	given = slices.Clip(given[:len(given)-operands])
	if set { // instead of those that it was called with
		*flags = loggerFlags{}
		cmd := &cobra.Command{
			RunE: func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return errors.New("an operand")
				}
				o, ok = flags.options(cmd, []string{place.Dir})
				return nil
			},
		}
		flags.add(cmd)
		given = strings.Fields(options)
		if err := execute(cmd, given); err != nil {
			return failed(fmt.Errorf("SV_TIMESTAMP=%s: these are no options of svlogd", options))
		}
	}
	if !ok {
		return failed(errors.New("svlogd does not take these options together"))
	}
	const before = 1408 << 10 // a command more and the accounts, and what Go keeps as headroom beyond the least
	return runLogger(o, flags.verbose > 0, before, append(given, place.Dir))
}

// findLog finds the place of a log, or makes it, and the links by which it is found.
func findLog(s logrun.Service, base string, conf map[string]string, warn func(error)) (logrun.Place, error) {
	place, err := s.Find(logrun.Settings{
		Base:      base,
		Dir:       conf["SV_LOGDIR"],
		UserGroup: conf["USERGROUP"],
		Chown:     conf["SV_LOG_CHOWN"] != "" && yes(conf, "SV_LOG_CHOWN"),
		State:     os.Getenv("XDG_STATE_HOME"),
	}, warn)
	if err != nil || place.Dir == "." {
		return place, err
	}
	if err := s.Links(place.Dir, conf["CURRENT_LOG_FILE"]); err != nil {
		warn(err)
	}
	return place, nil
}

// svlogdOptions are those of svlogd, and whether they are instead of those that rsvlog has
// itself, if it has some.
func svlogdOptions(conf map[string]string, has bool) (options string, instead bool) {
	if options, instead = conf["SV_TIMESTAMP"]; !instead && !has {
		return "-t", true
	}
	return options, instead
}

// yes says whether a variable is set and means yes.
func yes(conf map[string]string, name string) bool {
	value, set := conf[name]
	switch strings.ToLower(value) {
	case "no", "0", "off", "false":
		return false
	}
	return set
}

// readConf reads what ./conf sets and, where it sets nothing, the environment.
// Only where it does more than to set variables it is for shell.
func readConf(s logrun.Service, env func(name string) (string, bool), shell func() (map[string]string, error)) (map[string]string, error) {
	values := map[string]string{}
	for _, name := range logrun.Names {
		if value, set := env(name); set {
			values[name] = value
		}
	}
	script, err := s.Read("conf")
	if errors.Is(err, os.ErrNotExist) {
		return values, nil
	}
	if err != nil {
		return nil, err
	}
	set, plain := logrun.Assignments(string(script))
	if !plain {
		if set, err = shell(); err != nil {
			return nil, err
		}
	}
	for name, value := range set {
		values[name] = value
	}
	return values, nil
}

// shellValues has a shell read ./conf, and asks it for the variables.
func shellValues() (map[string]string, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	null, err := os.Open(os.DevNull) // standard input has the lines to be logged
	if err != nil {
		w.Close()
		return nil, err
	}
	defer null.Close()
	ask := "exec 3>&1 >&2\n. ./conf || exit\n"
	for _, name := range logrun.Names {
		ask += fmt.Sprintf("[ -z \"${%[1]s+set}\" ] || printf '%%s=%%s\\0' %[1]s \"$%[1]s\" >&3\n", name)
	}
	pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", ask}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{null.Fd(), w.Fd(), 2}})
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("unable to run /bin/sh: %w", err)
	}
	answer, err := io.ReadAll(r)
	var ws unix.WaitStatus
	for {
		if _, err := unix.Wait4(pid, &ws, 0, nil); err != unix.EINTR {
			break
		}
	}
	switch {
	case err != nil:
		return nil, err
	case ws.Signaled():
		return nil, fmt.Errorf("the shell was ended by signal %d", ws.Signal())
	case ws.ExitStatus() != 0:
		return nil, fmt.Errorf("the shell ended with status %d", ws.ExitStatus())
	}
	values := map[string]string{}
	for part := range strings.SplitSeq(string(answer), "\x00") {
		if name, value, ok := strings.Cut(part, "="); ok {
			values[name] = value
		}
	}
	return values, nil
}
