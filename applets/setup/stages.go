package setup

import (
	"io/fs"
	"strconv"
	"strings"
)

// StagesDir is where process 1 looks for its stages, below the root.
const StagesDir = "etc/runit"

// StageSet is a set of stages: all that process 1 runs.
type StageSet struct {
	Name  string
	About string
	from  []string // the sets of stages.txt that it is made of
}

// StageSets are all that there are.
var StageSets = []StageSet{
	{"plain", "needs no scripts of a distribution", []string{"every", "machine", "plain"}},
	{"debian", "with sysvinit's rc scripts where they are", []string{"every", "machine", "debian"}},
	{"container", "for process 1 of a container", []string{"every", "container"}},
}

// Files are those of the set, below StagesDir.
func (s StageSet) Files() []File {
	dots := strings.Repeat(".", 395) // what services say last is kept here, as long as the line is
	var files []File
	for _, set := range s.from {
		for _, f := range parse(text("stages.txt")) {
			from, name, _ := strings.Cut(f.Path, "/")
			if from != set {
				continue
			}
			f.Path, f.Text = name, strings.ReplaceAll(f.Text, "@DOTS@", dots)
			if !strings.HasPrefix(f.Text, "#!") {
				f.Mode = 0o644
			}
			files = append(files, f)
		}
	}
	return files
}

// LevelsDir is where runsvchdir looks for levels, below the root.
const LevelsDir = "etc/runit/runsvdir"

// Level is a directory of links to services.
type Level struct {
	Name     string
	About    string
	Services []string // of the collection
}

// Levels are all that there are.
var Levels = []Level{
	{"default", "logins on tty1 to tty6 and on the serial console; services are linked here", consoles()},
	{"single", "root's shell on the console and nothing else", []string{"sulogin"}},
	{"solo", "of a container: empty; services are linked here", nil},
}

// consoles are the services that log in on the machine's own terminals.
func consoles() []string {
	all := []string{"agetty-serial"}
	for n := range 6 {
		all = append(all, "agetty-tty"+strconv.Itoa(n+1))
	}
	return all
}

// LevelFiles are those of some levels, below the root: their services, the links to these,
// and that runsvdir and sv find. The first is the one that is current where none is.
func LevelFiles(levels []Level) []File {
	var files []File
	made := map[string]bool{}
	for _, l := range levels {
		files = append(files, File{Path: LevelsDir + "/" + l.Name, Mode: fs.ModeDir | 0o755})
		for _, name := range l.Services {
			if !made[name] {
				files = append(files, serviceFiles(name)...)
				made[name] = true
			}
			files = append(files, File{Path: LevelsDir + "/" + l.Name + "/" + name, Text: "/" + ServiceDir + "/" + name, Mode: fs.ModeSymlink})
		}
	}
	return append(files,
		File{Path: LevelsDir + "/current", Text: levels[0].Name, Mode: fs.ModeSymlink, Yields: true},
		File{Path: "var/service", Text: "/run/runit/runsvdir/current", Mode: fs.ModeSymlink, Yields: true})
}

// serviceFiles are the files of a service of the collection, below the root.
func serviceFiles(name string) []File {
	var files []File
	for _, s := range Services() {
		for _, f := range s.Files {
			if s.Name == name {
				f.Path = ServiceDir + "/" + f.Path
				files = append(files, f)
			}
		}
	}
	return files
}
