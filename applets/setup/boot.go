package setup

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Way is a way of having another init start a tree of services.
type Way struct {
	Name  string
	About string
	Then  string // the command that makes it known
	file  File
	line  bool // it is a line of a file of the machine's
}

// Ways are all that there are. The tree's directory of services and the executable are
// named as the system to be set up sees them.
func Ways(services, runitbox string) []Way {
	all := []Way{
		{Name: "systemd", About: "a unit", Then: "systemctl enable --now runitbox"},
		{Name: "sysvinit", About: "a line of /etc/inittab", Then: "telinit q", line: true},
		{Name: "busybox", About: "the same for BusyBox's init", Then: "kill -HUP 1", line: true},
		{Name: "openrc", About: "a service script", Then: "rc-update add runitbox && rc-service runitbox start"},
		{Name: "cron", About: "lines that start it at the boot and again", Then: "cron starts it within a minute"},
	}
	put := strings.NewReplacer("@SERVICES@", services, "@RUNITBOX@", runitbox)
	for _, f := range parse(text("boot.txt")) {
		name, file, _ := strings.Cut(f.Path, "/")
		f.Path, f.Text, f.Mode = file, put.Replace(f.Text), scriptMode(f.Text)
		for i := range all {
			if all[i].Name == name {
				all[i].file = f
			}
		}
	}
	return all
}

// Plan is the plan for one way.
func (w Way) Plan(t *Target) ([]Step, error) {
	if !w.line {
		return t.Plan([]File{w.file})
	}
	return t.PlanLine(w.file)
}

// PlanLine is the plan for a file of which only a line is ours: it takes the place
// of another of the same id, or comes last.
func (t *Target) PlanLine(f File) ([]Step, error) {
	name := path.Join(t.name, f.Path)
	text, err := t.root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return t.Plan([]File{f})
	}
	steps, planErr := t.Plan([]File{f})
	if planErr != nil || err != nil || steps[0].State == Foreign {
		return steps, planErr
	}
	info, err := t.root.Stat(name)
	if err != nil {
		return nil, bare(err)
	}
	steps[0].Mode = info.Mode().Perm()
	steps[0].State, steps[0].Text = addLine(string(text), f.Text)
	return steps, nil
}

// addLine adds a line to an inittab, in the place of those that have its id, or that have
// none and start a runsvdir as well: those differ.
func addLine(text, line string) (State, string) {
	id, _, _ := strings.Cut(line, ":")
	state := Extended
	var lines strings.Builder
	for old := range strings.Lines(text) {
		old = strings.TrimSuffix(old, "\n") + "\n"
		oldID, rest, _ := strings.Cut(old, ":")
		switch {
		case old == line:
			return Same, text
		case oldID == id && (id != "" || strings.Contains(rest, "runsvdir")):
			if state == Extended {
				lines.WriteString(line)
			}
			state = Differs
		default:
			lines.WriteString(old)
		}
	}
	if state == Extended {
		lines.WriteString(line)
	}
	return state, lines.String()
}
