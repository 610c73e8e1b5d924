package setup

import (
	"io/fs"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// ServiceDir is where service directories lie, below the root.
const ServiceDir = "etc/sv"

// Service is a service directory of the collection.
type Service struct {
	Name  string
	About string // what it runs, in a few words
	Files []File // their paths begin with the name
}

// Services are all of the collection, by name.
func Services() []Service {
	var all []Service
	var logRun File
	for _, f := range parse(text("services.txt")) {
		name, file, _ := strings.Cut(f.Path, "/")
		if name == "log" { // is not a service but of all of them
			logRun = f
			continue
		}
		if len(all) == 0 || all[len(all)-1].Name != name {
			all = append(all, Service{Name: name})
		}
		s := &all[len(all)-1]
		f.Mode = scriptMode(f.Text)
		s.Files = append(s.Files, f)
		if file == "run" {
			_, rest, _ := strings.Cut(f.Text, "\n")
			about, _, _ := strings.Cut(rest, "\n")
			s.About = strings.TrimPrefix(about, "# ")
		}
	}
	for i := range all {
		s := &all[i]
		if logs(s.Name) {
			f := logRun
			f.Path = s.Name + "/log/run"
			s.Files = append(s.Files, f)
		}
	}
	for n := 2; n <= 6; n++ { // tells by its name which terminal it is for
		all = append(all, renamed(all, "agetty-tty1", "agetty-tty"+strconv.Itoa(n)))
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// SuperviseDir is where supervise directories lie that are not below /etc: their
// links are Debian's, and whoever mounts /run makes it.
const SuperviseDir = "/run/runit/supervise/"

// Links are what keeps what runsv writes out of the service's directory, which may be
// read-only. What is in their place stays: it may be in use.
func (s Service) Links() []File {
	links := []File{{Path: s.Name + "/supervise", Text: SuperviseDir + s.Name, Mode: fs.ModeSymlink, Yields: true}}
	if logs(s.Name) {
		links = append(links, File{Path: s.Name + "/log/supervise", Text: SuperviseDir + s.Name + ".log", Mode: fs.ModeSymlink, Yields: true})
	}
	return links
}

// renamed is the service of one name under another.
func renamed(all []Service, from, to string) Service {
	s := all[slices.IndexFunc(all, func(s Service) bool { return s.Name == from })]
	s.Name, s.Files = to, slices.Clone(s.Files)
	for i := range s.Files {
		s.Files[i].Path = to + strings.TrimPrefix(s.Files[i].Path, from)
	}
	return s
}

// logs says whether a service has a log service: a login has its terminal.
func logs(name string) bool {
	return !strings.HasPrefix(name, "agetty-") && name != "sulogin"
}

// parse parts a text of many files: before each stands a line "-- path --". What comes
// before the first is about all of them. A file in the top directory of a service or in
// control is a program, but for conf.
func parse(text string) []File {
	var files []File
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSuffix(line, " --\n"), "-- "); ok && strings.HasSuffix(line, " --\n") {
			files = append(files, File{Path: name, Mode: 0o755})
		} else if n := len(files); n > 0 {
			files[n-1].Text += line
		}
	}
	return files
}
