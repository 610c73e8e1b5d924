package client

import (
	"path/filepath"

	"runitbox/supervise/policy"
	"runitbox/supervise/state"
)

// Need is a service that another needs, as its files show it.
type Need struct {
	Name  string
	Path  string
	Ready bool   // it is as those that need it wait for
	Why   string // why it is not
	Asks  bool   // it is not started unless somebody asks for it
}

// Needs are the services that the one at path needs, by its directory needs/: those
// beside it.
func Needs(path string) (all []Need) {
	r, err := Reach(path)
	if err != nil {
		return nil
	}
	defer r.Close()
	if has, err := r.has("needs"); err != nil || !has {
		return nil
	}
	list, _ := policy.Needs(r.fd)
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	for _, name := range list {
		n := Need{Name: name, Path: filepath.Dir(abs) + "/" + name}
		n.look()
		all = append(all, n)
	}
	return all
}

// look says how it is with a service that is needed.
func (n *Need) look() {
	n.Why = "is not supervised"
	r, err := Reach(n.Path)
	if err != nil {
		return
	}
	defer r.Close()
	rec, err := r.Probe()
	told := r.Told()
	switch {
	case err != nil:
	case rec.State == state.Run && rec.Termed:
		n.Why = "is being stopped"
	case rec.State == state.Run && told.Ready == state.NotReady:
		n.Why = "is not ready"
	case rec.State == state.Run:
		n.Ready, n.Why = true, ""
	case told.Word == state.ProcFailed:
		n.Why, n.Asks = "was given up", true
	case rec.State == state.Down && rec.Want != state.WantUp:
		n.Why, n.Asks = "is down", true
	case told.Word == state.ProcWaits:
		n.Why = "waits itself"
	default:
		n.Why = "is not up yet"
	}
}

// Waits says whether the service is not started before what it needs is ready.
func (r *Remote) Waits() bool { return r.Told().Word == state.ProcWaits }
