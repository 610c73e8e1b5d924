// Package survey tells what can be seen of the services of a tree by whoever may read
// its files and /proc. It asks no supervisor, changes nothing, and serves runit's
// directories as well as ours.
package survey

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"runitbox/supervise/client"
	"runitbox/supervise/policy"
	"runitbox/supervise/proc"
	"runitbox/supervise/state"
	"runitbox/supervise/statedir"
	"runitbox/supervise/sys"
)

// Service is one service as its files show it.
type Service struct {
	Name    string // as it is called in the tree, or was asked for
	Path    string // of its directory
	Files   string // of its supervise directory
	Target  string // where the entry of the tree leads, if it is a link
	Linked  bool   // it has an entry in the tree
	Err     error  // why its state is not known
	Record  state.Record
	HasDown bool  // there is a down file
	DownErr error // why that is not known
	Use     Usage
	Log     *Service // nil where there is no log directory
	Blocked bool     // its output is a full pipe
	GivenUp bool     // it has ended too often, or for good, and is not started again
	Ready   state.Readiness
	Notice  state.Notice  // what it has said of itself
	Waits   []client.Need // what it needs that is not ready, while it is not started for that
	Life    Life
	Number  int  // of a log service in the process that it shares with others; 0: it has its own
	Unsure  bool // the process is about to be another or none, and may be shared with others
}

// Unsupervised says that no supervisor serves the directory, which is there.
func (s *Service) Unsupervised() bool {
	_, away := errors.AsType[client.Unreachable](s.Err)
	return errors.Is(s.Err, client.ErrNotRunning) || !away && errors.Is(s.Err, unix.ENOENT)
}

// Resting says whether the service waits for its next start.
func (s *Service) Resting() bool {
	return s.Err == nil && s.Record.PID == 0 && s.Record.State == state.Down && s.Record.Want == state.WantUp
}

// Look is how much of a service is to be looked at.
type Look struct {
	Usage   bool // memory and processor time of its processes
	Blocked bool // whether its output is blocked
}

// At looks at the service directory at path.
func At(name, path string, look Look) *Service {
	s := &Service{Name: name, Path: path, Files: path + "/supervise"}
	r, err := client.Reach(path)
	if err != nil {
		s.Err = err
		return s
	}
	defer r.Close()
	s.fill(r, look)
	l, err := r.Log()
	if errors.Is(err, unix.ENOENT) {
		return s
	}
	s.Log = &Service{Name: name + "/log", Path: path + "/log", Files: path + "/log/supervise", Err: err}
	if err == nil {
		s.Log.fill(l, Look{Usage: look.Usage})
		l.Close()
	}
	if look.Blocked && s.Err == nil && s.Record.PID != 0 {
		s.Blocked, _ = client.OutputBlocked(s.Record.PID)
	}
	return s
}

// fill reads the files of the directory that r has reached.
func (s *Service) fill(r *client.Remote, look Look) {
	record, told, sure, err := r.Look()
	s.Record, s.Err, s.Unsure = record, err, err == nil && !sure
	if s.Files = r.Supervise(); s.Err != nil {
		return
	}
	s.HasDown, s.DownErr = r.HasDown()
	if sure {
		s.Number = told.Number()
	}
	if s.Record.PID != 0 && sure && s.Number == 0 && look.Usage { // what others share is not its own
		s.Use = Measure(s.Record.PID)
	}
	if s.Record.State == state.Run {
		if s.Ready = told.Ready; s.Ready != state.NotSaid {
			s.Notice = r.Notice()
		}
	}
	s.GivenUp = s.Resting() && told.Word == state.ProcFailed
	if s.Resting() && told.Word == state.ProcWaits {
		s.Waits = slices.DeleteFunc(client.Needs(s.Path), func(n client.Need) bool { return n.Ready })
	}
	s.Life = lifeOf(r, s.Record, told)
}

// Tree looks at every service of the directory: those that have an entry, in the
// order of their names, and then those that are supervised and have none.
func Tree(dir, collection string, look Look) ([]*Service, error) {
	list, err := entries(dir)
	if err != nil {
		return nil, err
	}
	all := make([]*Service, len(list))
	each(len(list), func(i int) {
		path := dir + "/" + list[i].Name()
		all[i] = At(list[i].Name(), path, look)
		all[i].Linked = true
		if !list[i].IsDir() {
			all[i].Target, _ = os.Readlink(path)
		}
	})
	return append(all, unlinked(dir, collection, all, look)...), nil
}

// each does something n times, on as many processors as there are.
func each(n int, do func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 1+n/32) {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				do(i - 1)
			}
		}()
	}
	all.Wait()
}

// Entries are the names in a directory of services that a runsvdir would supervise.
func Entries(dir string) (names []string, err error) {
	list, err := entries(dir)
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names, err
}

// Hidden says whether an entry of a directory of services is left alone by its name: that
// begins with a dot, and is not that of the tree's log service.
func Hidden(name string) bool { return name[0] == '.' && name != policy.CatchAll }

func entries(dir string) (all []os.DirEntry, err error) {
	list, err := sys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range list {
		name := entry.Name()
		if Hidden(name) {
			continue
		}
		if entry.Type()&os.ModeSymlink != 0 || entry.Type() == os.ModeIrregular {
			var st unix.Stat_t
			if err := unix.Stat(dir+"/"+name, &st); err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
				continue
			}
		} else if !entry.IsDir() {
			continue
		}
		all = append(all, entry)
	}
	return all, nil
}

// unlinked are the services of the collection, and of the other directories that
// the tree's links lead to, that the tree's core serves without an entry in dir.
func unlinked(dir, collection string, linked []*Service, look Look) (found []*Service) {
	known := sync.OnceValue(func() map[client.Identity]bool {
		all := map[client.Identity]bool{}
		for _, s := range linked {
			all[client.IdentityOf(s.Path)] = true
		}
		return all
	})
	places := []string{collection}
	for _, s := range linked {
		if s.Target != "" {
			if !filepath.IsAbs(s.Target) {
				s.Target = filepath.Join(dir, s.Target)
			}
			places = append(places, filepath.Dir(s.Target))
		}
	}
	trees := sync.OnceValue(func() map[uint32]bool { // the supervisors of the tree's services
		all := map[uint32]bool{}
		for _, s := range linked {
			if p, ok := recordOf(s.Path); ok && s.Err == nil {
				all[p.Tree] = true
			}
		}
		return all
	})
	slices.Sort(places)
	for _, place := range slices.Compact(places) {
		if place == "" || client.IdentityOf(place) == client.IdentityOf(dir) {
			continue
		}
		names, _ := Entries(place)
		for _, name := range names {
			path := place + "/" + name
			id := client.IdentityOf(path)
			if known()[id] || !served(path) {
				continue
			}
			known()[id] = true
			if p, ok := recordOf(path); ok && !trees()[p.Tree] && (len(trees()) > 0 || !servedFrom(p.Core, dir)) {
				continue // another tree's
			}
			found = append(found, At(name, path, look))
		}
	}
	return found
}

// servedFrom says whether the supervisor of that pid is that of the tree of dir.
func servedFrom(core int, dir string) bool {
	st, ok, err := proc.StatOf(core)
	return err == nil && ok && client.LooksAt(st.PPID, dir)
}

// served says whether a supervisor reads the directory's supervise/ok.
func served(path string) bool {
	_, ok := statedir.Open(path)
	if ok >= 0 {
		unix.Close(ok)
	}
	return ok >= 0
}

// recordOf is the record of a service directory, where there is one.
func recordOf(path string) (p state.Process, ok bool) {
	p, ok, err := proc.Read(unix.AT_FDCWD, statedir.Of(path)+"/supervise/proc")
	return p, ok && err == nil
}
